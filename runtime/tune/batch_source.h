/* batch_source.h - the interface through which a training run gets its batches.
 *
 *   seek(i) -> next, next, ...    batch number i of the run, i + 1, ...
 *
 * Which batch has which number depends only on the source's options, so that a run can
 * be resumed anywhere. Sources are a folder of ready batches (batches.h) and a file of
 * examples that are encoded during the computation (dataset.h). */
#ifndef LVLM_RUNTIME_TUNE_BATCH_SOURCE_H
#define LVLM_RUNTIME_TUNE_BATCH_SOURCE_H

#include <string.h>

#include "formats/base/digest.h"
#include "formats/checkpoint/checkpoint.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_batch {
    const lvlm_checkpoint *tensors; /* those of lvlm_model_forward, without a prefix */
    const char *name;               /* for messages */
} lvlm_batch;

typedef struct lvlm_batch_source {
    void *self;           /* owned: close */
    size_t n;             /* batches of one epoch; the next epoch follows */
    size_t largest;       /* number of the batch that should need the most memory */
    size_t held;          /* batches in memory at once, prefetched ones included */
    lvlm_hex_digest id;   /* the same for the same data in the same order */
    lvlm_hex_digest file; /* SHA-256 of the file of examples; "": ready batches */
    char how[128];        /* "100 of 100 examples, 4 per batch, shuffled by 0" */
    /* Batch number `i`, from 0, comes next. */
    int (*seek)(void *self, size_t i, lvlm_error *err);
    /* Borrowed until the next call. */
    int (*next)(void *self, lvlm_batch *out, lvlm_error *err);
    void (*close)(void *self);
} lvlm_batch_source;

/* Does nothing to a source that was never opened (all zero). */
static inline void lvlm_batch_source_close(lvlm_batch_source *source)
{
    if (source->close != NULL) source->close(source->self);
    memset(source, 0, sizeof *source);
}

LVLM_END_DECLS

#endif
