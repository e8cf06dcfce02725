/* gemv.h - rows of a stored matrix times one vector, on the calling thread.
 *
 * Dominates generation: every weight is read once per product, so memory bandwidth is
 * the limit. Private to ops. */
#ifndef LVLM_RUNTIME_OPS_GEMV_H
#define LVLM_RUNTIME_OPS_GEMV_H

#include "runtime/ops/stored.h"

/* y[o] = sum_i w[o,i] * x[i] + b[o]. Sums have one order on every machine. y (O) x (I)
 * w (O,I) b (O) or NULL */
void gemv_forward(real *y, const real *x, lvlm_stored w, const real *b, size_t O,
                  size_t I);

#endif
