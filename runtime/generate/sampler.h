/* sampler.h - which token comes next.
 *
 *   logits -> repetition penalty -> greedy: the largest, the first of equals
 *                                -> / temperature -> top-k -> top-p -> drawn
 *
 * Order and meaning are those of the reference's generate; sums are exact enough (in
 * double) that only a token on the very edge of top-p could fall elsewhere. What is
 * drawn follows from logits and seed alone. */
#ifndef LVLM_RUNTIME_GENERATE_SAMPLER_H
#define LVLM_RUNTIME_GENERATE_SAMPLER_H

#include <stdbool.h>

#include "formats/base/error.h"
#include "formats/tensor.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_sampling {
    double temperature; /* 0: greedy, and of the rest only the penalty counts */
    uint64_t top_k;     /* as likely as the k-th likeliest, or more; 0: all */
    double top_p;       /* the likeliest whose probabilities reach it; 1: all */
    double penalty; /* of tokens that the text holds: logits above 0 are divided by it,
                           those below multiplied; 1: none */
    uint64_t seed;
} lvlm_sampling;

/* LVLM_EUSAGE when a number that counts is out of its range. */
LVLM_MUST_CHECK int lvlm_sampling_check(const lvlm_sampling *sampling, lvlm_error *err);

typedef struct lvlm_candidate {
    float score;
    uint32_t id;
} lvlm_candidate;

/* One text's. */
typedef struct lvlm_sampler {
    lvlm_sampling sampling;
    size_t vocab;
    float *scores, *spare;  /* (vocab) */
    bool *held;             /* (vocab) the text holds it */
    lvlm_candidate *kept;   /* (vocab) */
    uint64_t stream, drawn; /* of the random numbers: how many were used */
} lvlm_sampler;

/* For logits [vocab]. Free with lvlm_sampler_free, also after a failure. */
LVLM_MUST_CHECK int lvlm_sampler_make(lvlm_sampler *sampler,
                                      const lvlm_sampling *sampling, uint64_t vocab,
                                      lvlm_error *err);
void lvlm_sampler_free(lvlm_sampler *sampler);

/* Tokens of the text; those that have no logit do not count. ids (n) */
void lvlm_sampler_hold(lvlm_sampler *sampler, const int64_t *ids, size_t n);

/* The next token for logits [vocab], F32 or F64. LVLM_ECHECK when one is not a number
 * or none is above -infinity. */
LVLM_MUST_CHECK int lvlm_sampler_pick(lvlm_sampler *sampler, int64_t *id,
                                      const lvlm_tensor *logits, lvlm_error *err);

LVLM_END_DECLS

#endif
