/* rows.c - scales, gathers and drops rows; see rows.h. */
#include "runtime/ops/rows.h"

#include <assert.h>
#include <string.h>

void scale_rows_forward(real *y, const real *scale, size_t N, size_t C)
{
#pragma omp parallel for schedule(static) if (N * C > LVLM_PARALLEL_MIN)
    for (size_t n = 0; n < N; n++)
#pragma omp simd
        for (size_t c = 0; c < C; c++) y[n * C + c] *= scale[n];
}

void gather_rows_forward(real *y, const real *x, const size_t *at, size_t N, size_t C)
{
    assert(y != x);
#pragma omp parallel for schedule(static) if (N * C > LVLM_PARALLEL_MIN)
    for (size_t n = 0; n < N; n++) memcpy(y + n * C, x + at[n] * C, C * sizeof *y);
}

void gather_rows_backward(real *dx, const real *dy, const size_t *at, size_t N,
                          size_t C)
{
    assert(dx != dy);
    for (size_t n = 0; n < N; n++)
#pragma omp simd
        for (size_t c = 0; c < C; c++) dx[at[n] * C + c] += dy[n * C + c];
}

void select_rows_forward(real *x, const size_t *at, size_t N, size_t C)
{
    for (size_t n = 0; n < N; n++)
        if (at[n] != n) memcpy(x + n * C, x + at[n] * C, C * sizeof *x);
}

/* From the last row to the first, so that none is overwritten before it has moved. */
void select_rows_backward(real *dx, const size_t *at, size_t N, size_t rows, size_t C)
{
    size_t end = rows; /* rows from here are done */
    for (size_t n = N; n-- > 0; end = at[n]) {
        assert(at[n] >= n && at[n] < end);
        memset(dx + (at[n] + 1) * C, 0, (end - at[n] - 1) * C * sizeof *dx);
        if (at[n] != n) memcpy(dx + at[n] * C, dx + n * C, C * sizeof *dx);
    }
    memset(dx, 0, end * C * sizeof *dx);
}
