/* lowrank.h - what a low-rank adapter adds to a linear map.
 *
 *   y += s B (A d(x))        A (r,I)  B (O,r)
 *
 * d is dropout: while training each element of x becomes 0 with a probability, and the
 * others are divided by what is left of 1; otherwise d(x) = x. Which ones follows from
 * the pass, the map and the element's place alone, so that the way back, and a pass
 * that is made again, drop the same. */
#ifndef LVLM_RUNTIME_OPS_LOWRANK_H
#define LVLM_RUNTIME_OPS_LOWRANK_H

#include <stdbool.h>

#include "runtime/ops/ops.h"

/* One for all maps of a model. */
typedef struct lowrank_noise {
    bool active;
    double rate;  /* the probability, below 1 */
    uint64_t key; /* of this pass */
} lowrank_noise;

typedef struct lowrank {
    const real *a; /* (r,I) */
    const real *b; /* (O,r) */
    real *da, *db; /* as those: their gradients; NULL: not needed */
    size_t r;
    real scale;
    const lowrank_noise *noise; /* NULL: none */
    uint64_t stream;            /* its own noise; maps with one A and one x share it */
} lowrank;

/* Elements of scratch for both directions and every N. */
size_t lowrank_scratch(size_t I, size_t r, size_t n_threads);

/* x (N,I)  y (N,O) */
void lowrank_forward(real *y, const real *x, const lowrank *w, size_t N, size_t I,
                     size_t O, const ops_scratch *scratch);
/* dx, da, db += ..., those that are not NULL.  dx (N,I)  dy (N,O)  x (N,I) */
void lowrank_backward(real *dx, const real *dy, const real *x, const lowrank *w,
                      size_t N, size_t I, size_t O, const ops_scratch *scratch);

#endif
