/* norm.c - LayerNorm and RMSNorm over the last axis.
 *
 * Backward, with h = (x - mean) * rstd and g = dy * w:
 *   LayerNorm  dx += rstd * (g - mean(g) - h * mean(g * h))
 *   RMSNorm    dx += rstd * (g - h * mean(g * h)), mean = 0
 * dw needs sums over rows: a first pass stores each row's mean and rstd, a second
 * processes columns in blocks, rows in order. */
#include "runtime/ops/norm.h"

#include <assert.h>

#include "runtime/ops/vmath.h"

#define COLUMN_BLOCK 64 /* columns of dw that one thread sums at a time */

size_t norm_scratch(size_t N)
{
    return 2 * N;
}

static real row_rstd(const real *x, real mean, real eps, size_t C)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t c = 0; c < C; c++) sum += (x[c] - mean) * (x[c] - mean);
    return 1 / real_sqrt(sum / (real)C + eps);
}

void layernorm_forward(real *y, const real *x, const real *w, const real *b, real eps,
                       size_t N, size_t C)
{
    assert(C > 0 && w != NULL);
#pragma omp parallel for schedule(static) if (N * C > LVLM_PARALLEL_MIN)
    for (size_t n = 0; n < N; n++) {
        const real *row = x + n * C;
        real *out = y + n * C;
        const real mean = vsum(row, C) / (real)C;
        const real rstd = row_rstd(row, mean, eps, C);
#pragma omp simd
        for (size_t c = 0; c < C; c++)
            out[c] = (row[c] - mean) * rstd * w[c] + (b != NULL ? b[c] : 0);
    }
}

void rmsnorm_forward(real *y, const real *x, const real *w, real offset, real eps,
                     size_t N, size_t C)
{
    assert(C > 0 && w != NULL);
#pragma omp parallel for schedule(static) if (N * C > LVLM_PARALLEL_MIN)
    for (size_t n = 0; n < N; n++) {
        const real *row = x + n * C;
        real *out = y + n * C;
        const real rstd = row_rstd(row, 0, eps, C);
#pragma omp simd
        for (size_t c = 0; c < C; c++) out[c] = row[c] * rstd * (offset + w[c]);
    }
}

/* One row of dx += rstd * (g - g_mean - h * mean(g h)), g = dy (offset + w), h as in
 * the file comment; g_mean is used only if `centred`. dx, dy, x, w (C) */
static void dx_row(real *dx, const real *dy, const real *x, const real *w, real offset,
                   real mean, real rstd, int centred, size_t C)
{
    real sum_g = 0, sum_gh = 0;
#pragma omp simd reduction(+ : sum_g, sum_gh)
    for (size_t c = 0; c < C; c++) {
        const real g = dy[c] * (offset + w[c]);
        sum_g += g;
        sum_gh += g * (x[c] - mean) * rstd;
    }
    const real g_mean = centred ? sum_g / (real)C : 0, gh_mean = sum_gh / (real)C;
#pragma omp simd
    for (size_t c = 0; c < C; c++) {
        const real g = dy[c] * (offset + w[c]);
        dx[c] += rstd * (g - g_mean - (x[c] - mean) * rstd * gh_mean);
    }
}

/* dw += sum_n dy h, db += sum_n dy; either may be NULL.
 * dw, db (C)  dy, x (N,C)  mean, rstd (N) */
static void backward_params(real *dw, real *db, const real *dy, const real *x,
                            const real *mean, const real *rstd, size_t N, size_t C)
{
    const size_t n_blocks = (C + COLUMN_BLOCK - 1) / COLUMN_BLOCK;
#pragma omp parallel for schedule(static) if (N * C > LVLM_PARALLEL_MIN)
    for (size_t block = 0; block < n_blocks; block++) {
        const size_t begin = block * COLUMN_BLOCK;
        const size_t end = min_size(C, begin + COLUMN_BLOCK);
        for (size_t n = 0; n < N; n++) {
            const real *dy_n = dy + n * C, *x_n = x + n * C;
            for (size_t c = begin; dw != NULL && c < end; c++)
                dw[c] += dy_n[c] * (x_n[c] - mean[n]) * rstd[n];
            for (size_t c = begin; db != NULL && c < end; c++) db[c] += dy_n[c];
        }
    }
}

static void norm_backward(real *dx, real *dw, real *db, const real *dy, const real *x,
                          const real *w, real offset, real eps, int centred, size_t N,
                          size_t C, const ops_scratch *scratch)
{
    assert(C > 0 && w != NULL && dx != dy && dx != x);
    assert(scratch->numel >= norm_scratch(N));
    real *mean = scratch->data, *rstd = mean + N;
#pragma omp parallel for schedule(static) if (N * C > LVLM_PARALLEL_MIN)
    for (size_t n = 0; n < N; n++) {
        const real *row = x + n * C;
        mean[n] = centred ? vsum(row, C) / (real)C : 0;
        rstd[n] = row_rstd(row, mean[n], eps, C);
        if (dx != NULL)
            dx_row(dx + n * C, dy + n * C, row, w, offset, mean[n], rstd[n], centred,
                   C);
    }
    if (dw != NULL || db != NULL) backward_params(dw, db, dy, x, mean, rstd, N, C);
}

void layernorm_backward(real *dx, real *dw, real *db, const real *dy, const real *x,
                        const real *w, real eps, size_t N, size_t C,
                        const ops_scratch *scratch)
{
    norm_backward(dx, dw, db, dy, x, w, 0, eps, 1, N, C, scratch);
}

void rmsnorm_backward(real *dx, real *dw, const real *dy, const real *x, const real *w,
                      real offset, real eps, size_t N, size_t C,
                      const ops_scratch *scratch)
{
    norm_backward(dx, dw, NULL, dy, x, w, offset, eps, 0, N, C, scratch);
}
