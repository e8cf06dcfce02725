/* norm.h - LayerNorm and RMSNorm over the last axis. */
#ifndef LVLM_RUNTIME_OPS_NORM_H
#define LVLM_RUNTIME_OPS_NORM_H

#include "runtime/ops/ops.h"

/* Elements of scratch for the backward of either norm over N rows. */
size_t norm_scratch(size_t N);

/* y = (x - mean) / sqrt(var + eps) * w + b per row; var is biased and computed in a
 * second pass. y may be x. x, y (N,C) w (C) b (C) or NULL */
void layernorm_forward(real *y, const real *x, const real *w, const real *b, real eps,
                       size_t N, size_t C);
/* Accumulates; any gradient may be NULL. Statistics are recomputed from x. dx, dy, x
 * (N,C) dw, db, w (C) */
void layernorm_backward(real *dx, real *dw, real *db, const real *dy, const real *x,
                        const real *w, real eps, size_t N, size_t C,
                        const ops_scratch *scratch);

/* y = x / sqrt(mean(x^2) + eps) * (offset + w) per row; offset is 1 for Gemma, else 0.
 * y may be x. A norm per head is the same with N = rows * heads.  x, y (N,C)  w (C) */
void rmsnorm_forward(real *y, const real *x, const real *w, real offset, real eps,
                     size_t N, size_t C);
/* Accumulates; any gradient may be NULL.  dx, dy, x (N,C)  dw, w (C) */
void rmsnorm_backward(real *dx, real *dw, const real *dy, const real *x, const real *w,
                      real offset, real eps, size_t N, size_t C,
                      const ops_scratch *scratch);

#endif
