/* product.h - the door to matrix products in parallel: by the processor's own kernels
 * (runtime/kernel) or by OpenBLAS, as lvlm_unit_chosen has it. Private to ops.
 *
 * Operands are rounded to scratch->terms terms of bf16 (0: not at all); sums are
 * `real`. The double build has OpenBLAS only. */
#ifndef LVLM_RUNTIME_OPS_PRODUCT_H
#define LVLM_RUNTIME_OPS_PRODUCT_H

#include <stdbool.h>

#include "runtime/ops/stored.h"

/* Elements of scratch that kernels need, in any processor. */
size_t product_scratch(size_t I, size_t O, size_t n_threads);

/* y = x w^T + b, dx += dy w, dw += dy^T x by a kernel; false: none is used, and nothing
 * is done. y, dy (N,O) x, dx (N,I) w, dw (O,I) b (O) or NULL */
bool product_forward(real *y, const real *x, lvlm_stored w, const real *b, size_t N,
                     size_t I, size_t O, const ops_scratch *scratch);
bool product_dx(real *dx, const real *dy, lvlm_stored w, size_t N, size_t I, size_t O,
                const ops_scratch *scratch);
bool product_dw(real *dw, const real *dy, const real *x, size_t N, size_t I, size_t O,
                const ops_scratch *scratch);

/* What a thread computes small products with. */
typedef struct product_place {
    real *data;     /* product_place_numel elements */
    unsigned terms; /* of operands, as in ops_scratch */
} product_place;

/* The products of gemm.h by the calling thread, by a kernel where that is faster: for
 * up to `rows` rows of c and sums of up to `length` values. beta is 0 or 1. */
size_t product_place_numel(size_t rows, size_t length);
void product_nt(real *c, size_t ldc, const real *a, size_t lda, const real *b,
                size_t ldb, size_t M, size_t N, size_t K, real alpha, real beta,
                const product_place *place);
void product_nn(real *c, size_t ldc, const real *a, size_t lda, const real *b,
                size_t ldb, size_t M, size_t N, size_t K, real alpha, real beta,
                const product_place *place);
void product_tn(real *c, size_t ldc, const real *a, size_t lda, const real *b,
                size_t ldb, size_t M, size_t N, size_t K, real alpha, real beta,
                const product_place *place);

/* out (rows,cols) = x, of row stride ldx, rounded to `terms` terms, 1 or 2. */
void product_round(real *out, const real *x, size_t ldx, size_t rows, size_t cols,
                   unsigned terms);

#endif
