/* rope.h - rotary positions on half-split pairs (j, j + D/2). */
#ifndef LVLM_RUNTIME_OPS_ROPE_H
#define LVLM_RUNTIME_OPS_ROPE_H

#include "runtime/ops/ops.h"

/* cos and sin of positions[n] * theta^(-2j/D), D even. Computed in f32 by both builds;
 * rope.c says why. Other tables (several axes, scaled frequencies) serve rope_forward
 * just as well.  cosines, sines (N,D/2)  positions (N), |position| < 2^24 */
void rope_table(real *cosines, real *sines, const int64_t *positions, size_t N,
                size_t D, double theta);

/* y_j = x_j cos_j - x_k sin_j, y_k = x_k cos_j + x_j sin_j, k = j + D/2, the same for
 * every head. y may be x.  x, y (N,heads,D)  cosines, sines (N,D/2) */
void rope_forward(real *y, const real *x, const real *cosines, const real *sines,
                  size_t N, size_t heads, size_t D);
/* dx = dy turned back. The exception among the backwards: it OVERWRITES dx, so that a
 * gradient can be turned back in place (dx may be dy).
 * dx, dy (N,heads,D)  cosines, sines (N,D/2) */
void rope_backward(real *dx, const real *dy, const real *cosines, const real *sines,
                   size_t N, size_t heads, size_t D);

#endif
