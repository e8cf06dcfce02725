/* gemv.h - rows of a stored matrix times one vector or a few, on the calling thread.
 *
 * Dominates generation: every weight is read once per product, so memory bandwidth is
 * the limit, and a few vectors cost little more than one. Private to ops. */
#ifndef LVLM_RUNTIME_OPS_GEMV_H
#define LVLM_RUNTIME_OPS_GEMV_H

#include "runtime/ops/stored.h"

/* y[o] = sum_i w[o,i] * x[i] + b[o]. Sums have one order on every machine. y (O) x (I)
 * w (O,I) b (O) or NULL */
void gemv_forward(real *y, const real *x, lvlm_stored w, const real *b, size_t O,
                  size_t I);

enum {
    GEMV_LANES = 16,       /* partial sums of a row, added in order at the end */
    GEMV_MOST_VECTORS = 8, /* of gemv_several */
};

/* Elements of a packed x. */
size_t gemv_packed_numel(size_t I);
/* packed = N vectors, as gemv_several wants them.  x (N,I) */
void gemv_pack(real *packed, const real *x, size_t N, size_t I);
/* The same for N vectors, N <= GEMV_MOST_VECTORS, bit for bit, in one pass over w.
 * y (N,O) of row stride ldy  w (O,I)  b (O) or NULL */
void gemv_several(real *y, size_t ldy, const real *packed, size_t N, lvlm_stored w,
                  const real *b, size_t O, size_t I);

#endif
