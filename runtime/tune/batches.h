/* batches.h - a folder of ready batches and the order in which steps take them. */
#ifndef LVLM_RUNTIME_TUNE_BATCHES_H
#define LVLM_RUNTIME_TUNE_BATCHES_H

#include "formats/checkpoint.h"

typedef struct lvlm_batches {
    const char **paths; /* batch-000.safetensors, ... sorted by name */
    size_t n;
    bool shuffled; /* anew for each walk over the folder */
    uint64_t seed;
    lvlm_arena arena;
} lvlm_batches;

/* The files batch-*.safetensors of a folder; LVLM_EFORMAT when there is none. Free with
 * lvlm_batches_free, also after a failure. */
LVLM_MUST_CHECK int lvlm_batches_open(lvlm_batches *out, const char *folder,
                                      lvlm_error *err);
void lvlm_batches_free(lvlm_batches *batches);

/* The path of batch number `i` of a run, from 0: the folder again and again. It depends
 * on seed and i alone, so that a run can go on anywhere. NULL: out of memory. */
const char *lvlm_batches_at(const lvlm_batches *batches, size_t i);

#endif
