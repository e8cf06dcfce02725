/* rows.h - rows multiplied by a number of their own, and rows picked from a table. */
#ifndef LVLM_RUNTIME_OPS_ROWS_H
#define LVLM_RUNTIME_OPS_ROWS_H

#include "runtime/ops/ops.h"

/* y[n] = scale[n] * y[n]; the backward is the same on dy.  y (N,C)  scale (N) */
void scale_rows_forward(real *y, const real *scale, size_t N, size_t C);

/* y[n] = x[at[n]].  y (N,C)  x (rows,C)  at (N), < rows */
void gather_rows_forward(real *y, const real *x, const size_t *at, size_t N, size_t C);
/* dx[at[n]] += dy[n], in order of n.  dx (rows,C)  dy (N,C) */
void gather_rows_backward(real *dx, const real *dy, const size_t *at, size_t N,
                          size_t C);

#endif
