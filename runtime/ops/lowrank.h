/* lowrank.h - the low-rank part of an adapted linear map.
 *
 *   y += s B (A d(x))        A (r,I)  B (O,r)
 *
 * d is dropout: in training each element of x becomes 0 with probability `rate`, and
 * the others are divided by 1 - rate; otherwise d(x) = x. The choice depends only on
 * the pass, the map and the element's index, so that backward and recomputation drop
 * the same elements. */
#ifndef LVLM_RUNTIME_OPS_LOWRANK_H
#define LVLM_RUNTIME_OPS_LOWRANK_H

#include <stdbool.h>

#include "runtime/ops/ops.h"

/* Shared by all maps of a model. */
typedef struct lowrank_noise {
    bool active;
    double rate;  /* the probability, below 1 */
    uint64_t key; /* of this pass */
} lowrank_noise;

typedef struct lowrank {
    const real *a; /* (r,I) */
    const real *b; /* (O,r) */
    real *da, *db; /* gradients, of the same shapes; NULL: not needed */
    size_t r;
    real scale;
    const lowrank_noise *noise; /* NULL: none */
    uint64_t stream;            /* of its noise; maps with the same A and x share it */
} lowrank;

/* Elements of scratch for both directions and every N. */
size_t lowrank_scratch(size_t I, size_t r, size_t n_threads);

/* x (N,I)  y (N,O) */
void lowrank_forward(real *y, const real *x, const lowrank *w, size_t N, size_t I,
                     size_t O, const ops_scratch *scratch);
/* dx, da, db += ...; each may be NULL. dx (N,I) dy (N,O) x (N,I) */
void lowrank_backward(real *dx, const real *dy, const real *x, const lowrank *w,
                      size_t N, size_t I, size_t O, const ops_scratch *scratch);

#endif
