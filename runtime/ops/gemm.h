/* gemm.h - matrix products by CBLAS with size_t sizes, on the calling thread.
 *
 * c = alpha * product + beta * c. Each matrix has its own row stride (ldc, lda, ldb);
 * beta 0 does not read c. M, N, K >= 1. Private to ops. */
#ifndef LVLM_RUNTIME_OPS_GEMM_H
#define LVLM_RUNTIME_OPS_GEMM_H

#include "runtime/ops/ops.h"

/* product = a b^T.  c (M,N)  a (M,K)  b (N,K) */
void gemm_nt(real *c, size_t ldc, const real *a, size_t lda, const real *b, size_t ldb,
             size_t M, size_t N, size_t K, real alpha, real beta);
/* product = a b.  c (M,N)  a (M,K)  b (K,N) */
void gemm_nn(real *c, size_t ldc, const real *a, size_t lda, const real *b, size_t ldb,
             size_t M, size_t N, size_t K, real alpha, real beta);
/* product = a^T b.  c (M,N)  a (K,M)  b (K,N) */
void gemm_tn(real *c, size_t ldc, const real *a, size_t lda, const real *b, size_t ldb,
             size_t M, size_t N, size_t K, real alpha, real beta);

#endif
