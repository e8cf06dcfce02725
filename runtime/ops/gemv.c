/* gemv.c - rows of a stored matrix times one vector.
 *
 *   O rows in STREAMS pieces, read in parallel, row by row:
 *
 *     w  [ piece 0 | piece 1 | ... ]     a step: one row of each piece
 *          ->        ->                  x is read once for all of them
 *
 * Several independent sequential streams hide memory latency, and each is prefetched.
 * Widening happens in registers. */
#include "runtime/ops/gemv.h"

#include <assert.h>

#include "formats/container/numeric.h"
#include "runtime/ops/vmath.h"

enum {
    STREAMS = 8,
    LANES = GEMV_LANES,
    BLOCK = 32,  /* elements of one stream before switching to the next */
    AHEAD = 512, /* prefetch distance in bytes */
};

/* name: y[k * apart] = the row k * apart of w, times x, for k < n.
 * y (n*apart)  x (I)  w (n*apart,I) */
#define GEMV_KERNEL(name, type, widen)                                                 \
    LVLM_SIMD_CLONES static void name(real *y, const real *x, const type *w, size_t I, \
                                      size_t apart, size_t n)                          \
    {                                                                                  \
        real sums[STREAMS][LANES] = { { 0 } };                                         \
        size_t i = 0;                                                                  \
        for (; i + BLOCK <= I; i += BLOCK)                                             \
            for (size_t k = 0; k < n; k++) {                                           \
                const type *const p = w + k * apart * I + i;                           \
                for (size_t b = 0; b < BLOCK * sizeof *p; b += LVLM_CACHE_LINE)        \
                    LVLM_PREFETCH((const char *)p + AHEAD + b);                        \
                for (size_t j = 0; j < BLOCK; j += LANES)                              \
                    _Pragma("omp simd") for (size_t l = 0; l < LANES; l++)             \
                        sums[k][l] += x[i + j + l] * widen(p[j + l]);                  \
            }                                                                          \
        for (; i < I; i++)                                                             \
            for (size_t k = 0; k < n; k++)                                             \
                sums[k][i % LANES] += x[i] * widen(w[k * apart * I + i]);              \
        for (size_t k = 0; k < n; k++) {                                               \
            y[k * apart] = sums[k][0];                                                 \
            for (size_t l = 1; l < LANES; l++) y[k * apart] += sums[k][l];             \
        }                                                                              \
    }

GEMV_KERNEL(rows_bf16, uint16_t, (real)lvlm_f32_of_bf16)
GEMV_KERNEL(rows_f16, uint16_t, (real)lvlm_f32_of_f16_fast)
GEMV_KERNEL(rows_f32, float, (real))
GEMV_KERNEL(rows_f64, double, (real))

static void rows(real *y, const real *x, lvlm_stored w, size_t I, size_t apart,
                 size_t n)
{
    assert(n > 0 && n <= STREAMS);
    switch (w.dtype) {
    case LVLM_BF16: rows_bf16(y, x, w.data, I, apart, n); break;
    case LVLM_F16: rows_f16(y, x, w.data, I, apart, n); break;
    case LVLM_F32: rows_f32(y, x, w.data, I, apart, n); break;
    case LVLM_F64: rows_f64(y, x, w.data, I, apart, n); break;
    default: assert(0 && "not a dtype of weights");
    }
}

void gemv_forward(real *y, const real *x, lvlm_stored w, const real *b, size_t O,
                  size_t I)
{
    const size_t apart = (O + STREAMS - 1) / STREAMS;
    assert(w.data != NULL && y != x);
    for (size_t o = 0; o < apart && o < O; o++) /* the last piece may be shorter */
        rows(y + o, x, stored_at(w, o * I), I, apart, (O - o + apart - 1) / apart);
    for (size_t o = 0; b != NULL && o < O; o++) y[o] += b[o];
}
