/* add.h - sums: residuals and position tables. */
#ifndef LVLM_RUNTIME_OPS_ADD_H
#define LVLM_RUNTIME_OPS_ADD_H

#include "runtime/ops/ops.h"

/* y += x. Its own backward: dx += dy, and dy is unchanged. x, y (n) */
void add_forward(real *y, const real *x, size_t n);

/* y = a + b; y may be a or b. y, a, b (n) */
void sum_forward(real *y, const real *a, const real *b, size_t n);

/* y += a x; dx += a dy.  x, y (n) */
void add_scaled_forward(real *y, const real *x, real a, size_t n);

/* Sum of a[i] b[i] in double: the gradient of a factor. a, b (n) */
real dot_forward(const real *a, const real *b, size_t n);

/* y[n] += table[n mod R]: the same R positions for each image of a batch.
 * y (N,C), R divides N  table (R,C) */
void add_rows_forward(real *y, const real *table, size_t N, size_t R, size_t C);
/* dtable[r] += sum of dy[n] over n = r mod R; dy is also the gradient of y's old value.
 * dtable (R,C) dy (N,C) */
void add_rows_backward(real *dtable, const real *dy, size_t N, size_t R, size_t C);

#endif
