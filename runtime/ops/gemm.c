/* gemm.c - matrix products by CBLAS with size_t sizes. */
#include "runtime/ops/gemm.h"

#include <assert.h>
#include <limits.h>

/* Rows of a for which one product with each is faster than packing b. */
enum { FEW = 3 };

/* cblas takes 32-bit sizes. */
static int blas_int(size_t n)
{
    assert(n <= INT_MAX);
    return (int)n;
}

void gemm_nt(real *c, size_t ldc, const real *a, size_t lda, const real *b, size_t ldb,
             size_t M, size_t N, size_t K, real alpha, real beta)
{
    assert(M > 0 && N > 0 && K > 0 && ldc >= N && lda >= K && ldb >= K);
    for (size_t m = 0; M <= FEW && m < M; m++)
        real_gemv(CblasRowMajor, CblasNoTrans, blas_int(N), blas_int(K), alpha, b,
                  blas_int(ldb), a + m * lda, 1, beta, c + m * ldc, 1);
    if (M > FEW)
        real_gemm(CblasRowMajor, CblasNoTrans, CblasTrans, blas_int(M), blas_int(N),
                  blas_int(K), alpha, a, blas_int(lda), b, blas_int(ldb), beta, c,
                  blas_int(ldc));
}

void gemm_nn(real *c, size_t ldc, const real *a, size_t lda, const real *b, size_t ldb,
             size_t M, size_t N, size_t K, real alpha, real beta)
{
    assert(M > 0 && N > 0 && K > 0 && ldc >= N && lda >= K && ldb >= N);
    for (size_t m = 0; M <= FEW && m < M; m++)
        real_gemv(CblasRowMajor, CblasTrans, blas_int(K), blas_int(N), alpha, b,
                  blas_int(ldb), a + m * lda, 1, beta, c + m * ldc, 1);
    if (M > FEW)
        real_gemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, blas_int(M), blas_int(N),
                  blas_int(K), alpha, a, blas_int(lda), b, blas_int(ldb), beta, c,
                  blas_int(ldc));
}

void gemm_tn(real *c, size_t ldc, const real *a, size_t lda, const real *b, size_t ldb,
             size_t M, size_t N, size_t K, real alpha, real beta)
{
    assert(M > 0 && N > 0 && K > 0 && ldc >= N && lda >= M && ldb >= N);
    real_gemm(CblasRowMajor, CblasTrans, CblasNoTrans, blas_int(M), blas_int(N),
              blas_int(K), alpha, a, blas_int(lda), b, blas_int(ldb), beta, c,
              blas_int(ldc));
}
