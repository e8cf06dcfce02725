/* rows.h - scales, gathers and drops rows. */
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

/* x[n] = x[at[n]], in place: the other rows are dropped. x (rows,C) -> (N,C) at (N),
 * increasing, < rows */
void select_rows_forward(real *x, const size_t *at, size_t N, size_t C);
/* The backward, also in place: each row moves to where it was, and the others are 0. dx
 * (N,C) -> (rows,C) */
void select_rows_backward(real *dx, const size_t *at, size_t N, size_t rows, size_t C);

#endif
