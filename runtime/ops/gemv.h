/* gemv.h - rows of a stored matrix times one vector or a few, on the calling thread.
 *
 * Dominates generation: every weight is read once per product, so memory bandwidth is
 * the limit, and a few vectors cost little more than one. Private to ops. */
#ifndef LVLM_RUNTIME_OPS_GEMV_H
#define LVLM_RUNTIME_OPS_GEMV_H

#include "runtime/ops/stored.h"

enum { GEMV_MOST_VECTORS = 8 }; /* in one pass over w */

/* Elements of a packed x. */
size_t gemv_packed_numel(size_t I);
/* packed = N vectors, as gemv_forward wants them.  x (N,I) */
void gemv_pack(real *packed, const real *x, size_t N, size_t I);
/* y[n,o] = sum_i w[o,i] * x[n,i] + b[o] for N <= GEMV_MOST_VECTORS vectors. Sums have
 * one order on every machine, and the same bits for every N. y (N,O) of row stride ldy
 * w (O,I)  b (O) or NULL */
void gemv_forward(real *y, size_t ldy, const real *packed, size_t N, lvlm_stored w,
                  const real *b, size_t O, size_t I);

#endif
