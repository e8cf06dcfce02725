/* noise.h - what a pass in training drops, and where: the rates of all places, and
 * what the choice depends on.
 *
 * A row has a number of its own: the text or image that it belongs to, counted from the
 * first one of the step, and its place in that. So a text loses the same whatever else
 * is in its batch, and however a step is divided into batches. */
#ifndef LVLM_RUNTIME_BLOCK_NOISE_H
#define LVLM_RUNTIME_BLOCK_NOISE_H

#include "formats/family/family.h"
#include "runtime/ops/dropout.h"

typedef struct noise {
    double rates[LVLM_N_DROPOUTS]; /* all 0: nothing is dropped */
    uint64_t key;                  /* of the step */
    size_t texts, images; /* that earlier batches of the step had: the first of this
                             one */
} noise;

/* The number of a row: row `row` of text or image `of` of the step. */
static inline uint64_t noise_row(size_t of, size_t row)
{
    return (uint64_t)of << 32 | (uint64_t)row;
}

static inline bool noise_drops(const noise *n)
{
    bool drops = false;
    for (size_t i = 0; i < LVLM_N_DROPOUTS; i++) drops |= n->rates[i] > 0;
    return drops;
}

/* Dropout at a place of block i. `n` NULL: nothing is dropped. rows (N), of noise_row,
 * borrowed */
dropout noise_at(const noise *n, lvlm_dropout_place place, size_t i,
                 const uint64_t *rows);

#endif
