/* decoding.h - a text and the tokens after it, in one precision; private to
 * runtime/model.
 *
 *   decoding.c        reads the text
 *   decoding_step.c   continues several */
#ifndef LVLM_RUNTIME_MODEL_DECODING_H
#define LVLM_RUNTIME_MODEL_DECODING_H

#include "runtime/model/pipeline.h"

typedef struct decoding {
    struct lvlm_session base;
    pipeline *p;
    kv_cache cache;
    int64_t *tokens;  /* (cache.rows) ids of real tokens, from the first one on */
    size_t *columns;  /* (cache.rows) theirs; padding before them counts */
    int64_t next[3];  /* positions of the next row */
    size_t window_lo; /* not above what the next row's window begins with */
    real *logits;     /* (n_logits,V) after each token of the last step */
    size_t n_logits;
} decoding;

/* Room for `rows` rows in all. */
int decoding_reserve(decoding *d, size_t rows, lvlm_error *err);
/* Room for the logits after n tokens; those that are there stay. */
int decoding_reserve_logits(decoding *d, size_t n, lvlm_error *err);
/* What callers read: n tokens of the last step are kept, and are in the cache. */
void decoding_publish(decoding *d, size_t n);

#endif
