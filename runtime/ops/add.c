/* add.c - sums: residuals and position tables. */
#include "runtime/ops/add.h"

#include <assert.h>

void add_forward(real *y, const real *x, size_t n)
{
#pragma omp parallel for simd schedule(static) if (n > LVLM_PARALLEL_MIN)
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

void add_rows_forward(real *y, const real *table, size_t N, size_t R, size_t C)
{
    assert(R > 0 && N % R == 0 && y != table);
#pragma omp parallel for schedule(static) if (N * C > LVLM_PARALLEL_MIN)
    for (size_t n = 0; n < N; n++) {
        real *row = y + n * C;
        const real *add = table + n % R * C;
#pragma omp simd
        for (size_t c = 0; c < C; c++) row[c] += add[c];
    }
}

void add_rows_backward(real *dtable, const real *dy, size_t N, size_t R, size_t C)
{
    if (dtable == NULL) return;
    assert(R > 0 && N % R == 0 && dtable != dy);
#pragma omp parallel for schedule(static) if (N * C > LVLM_PARALLEL_MIN)
    for (size_t r = 0; r < R; r++)
        for (size_t n = r; n < N; n += R)
            for (size_t c = 0; c < C; c++) dtable[r * C + c] += dy[n * C + c];
}

void add_scaled_forward(real *y, const real *x, real a, size_t n)
{
#pragma omp parallel for simd schedule(static) if (n > LVLM_PARALLEL_MIN)
    for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}

void sum_forward(real *y, const real *a, const real *b, size_t n)
{
#pragma omp parallel for simd schedule(static) if (n > LVLM_PARALLEL_MIN)
    for (size_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

real dot_forward(const real *a, const real *b, size_t n)
{
    double sum = 0; /* one order for every number of threads */
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return (real)sum;
}
