/* sampler.h - chooses the next token.
 *
 *   logits -> repetition penalty -> greedy: the largest, ties: the first
 *                                -> / temperature -> top-k -> top-p -> drawn
 *
 * Order and meaning are those of the reference's generate; sums are in double, so that
 * only a token exactly at the edge of top-p could differ. The token drawn depends only
 * on logits and seed. */
#ifndef LVLM_RUNTIME_GENERATE_SAMPLER_H
#define LVLM_RUNTIME_GENERATE_SAMPLER_H

#include <stdbool.h>

#include "formats/base/error.h"
#include "formats/container/tensor.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_sampling {
    double temperature; /* 0: greedy; of the others only the penalty is used */
    uint64_t top_k;     /* keep those as likely as the k-th, or more; 0: all */
    double top_p;       /* keep the most likely that sum to this; 1: all */
    /* for tokens in the text: positive logits are divided by it, negative ones
     * multiplied; 1: none */
    double penalty;
    uint64_t seed;
} lvlm_sampling;

/* LVLM_EUSAGE if a number that is used is out of range. */
LVLM_MUST_CHECK int lvlm_sampling_check(const lvlm_sampling *sampling, lvlm_error *err);

typedef struct lvlm_candidate {
    float score;
    uint32_t id;
} lvlm_candidate;

/* The sampler of one text. */
typedef struct lvlm_sampler {
    lvlm_sampling sampling;
    size_t vocab;
    float *scores, *spare;  /* (vocab) */
    bool *held;             /* (vocab) the token is in the text */
    lvlm_candidate *kept;   /* (vocab) */
    uint64_t stream, drawn; /* of random numbers: how many were used */
} lvlm_sampler;

/* For logits [vocab]. Free with lvlm_sampler_free, also after a failure. */
LVLM_MUST_CHECK int lvlm_sampler_make(lvlm_sampler *sampler,
                                      const lvlm_sampling *sampling, uint64_t vocab,
                                      lvlm_error *err);
void lvlm_sampler_free(lvlm_sampler *sampler);

/* Add tokens of the text; those without a logit are ignored. ids (n) */
void lvlm_sampler_hold(lvlm_sampler *sampler, const int64_t *ids, size_t n);

/* The next token for logits [vocab], F32 or F64. LVLM_ECHECK if one is NaN or none is
 * above -infinity. */
LVLM_MUST_CHECK int lvlm_sampler_pick(lvlm_sampler *sampler, int64_t *id,
                                      const lvlm_tensor *logits, lvlm_error *err);

LVLM_END_DECLS

#endif
