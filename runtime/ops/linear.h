/* linear.h - y = x w^T + b with the weight in its stored dtype. */
#ifndef LVLM_RUNTIME_OPS_LINEAR_H
#define LVLM_RUNTIME_OPS_LINEAR_H

#include "runtime/ops/stored.h"

/* Up to so many rows of x, each row of y has the bits that it has by itself, whatever
 * scratch->terms is. */
enum { LINEAR_ALIKE = 8 };

/* Elements of scratch for both directions and every N and dtype of w. */
size_t linear_scratch(size_t I, size_t O, size_t n_threads);

/* y[n,o] = sum_i x[n,i] * w[o,i] + b[o].
 * x (N,I)  w (O,I)  b (O) or NULL  y (N,O) */
void linear_forward(real *y, const real *x, lvlm_stored w, const real *b, size_t N,
                    size_t I, size_t O, const ops_scratch *scratch);

/* dx += dy w, dw += dy^T x, db += column sums of dy; any of them may be NULL. x is read
 * only for dw, and w only for dx: otherwise they may be NULL and absent. dx (N,I) dw
 * (O,I) db (O) dy (N,O) x (N,I) w (O,I) */
void linear_backward(real *dx, real *dw, real *db, const real *dy, const real *x,
                     lvlm_stored w, size_t N, size_t I, size_t O,
                     const ops_scratch *scratch);

#endif
