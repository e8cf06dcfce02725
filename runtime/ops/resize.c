/* resize.c - bicubic resampling of a square table; see resize.h.
 *
 * Separable: each output is a sum of 4 x 4 taps whose weights are products of two
 * cubics. Tables are small and this runs once per image size, so nothing is cached. */
#include "runtime/ops/resize.h"

#include <assert.h>
#include <string.h>

enum { TAPS = 4 };

typedef struct taps {
    size_t at[TAPS];
    real weight[TAPS];
} taps;

/* The cubic convolution kernel at distance x < 1, and at 1 <= x < 2. */
static real near(real x)
{
    const real a = (real)-0.75;
    return ((a + 2) * x - (a + 3)) * x * x + 1;
}

static real far(real x)
{
    const real a = (real)-0.75;
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
}

/* The taps of output `o` of T among G inputs. */
static taps taps_of(size_t o, size_t G, size_t T)
{
    const real at = ((real)o + (real)0.5) * ((real)G / (real)T) - (real)0.5;
    const real base = (real)floor((double)at), t = at - base;
    taps out = { .weight = { far(1 + t), near(t), near(1 - t), far(2 - t) } };
    for (size_t i = 0; i < TAPS; i++) {
        const long index = (long)base - 1 + (long)i;
        out.at[i] = index < 0 ? 0 : (size_t)index >= G ? G - 1 : (size_t)index;
    }
    return out;
}

void resize_forward(real *y, const real *table, size_t G, size_t T, size_t C)
{
    assert(G > 0 && T > 0 && y != table);
    if (G == T) {
        memcpy(y, table, G * G * C * sizeof *y);
        return;
    }
#pragma omp parallel for schedule(static) if (T * T * C > LVLM_PARALLEL_MIN)
    for (size_t row = 0; row < T; row++) {
        const taps v = taps_of(row, G, T);
        for (size_t column = 0; column < T; column++) {
            const taps h = taps_of(column, G, T);
            real *out = y + (row * T + column) * C;
            memset(out, 0, C * sizeof *out);
            for (size_t i = 0; i < TAPS * TAPS; i++) {
                const real w = v.weight[i / TAPS] * h.weight[i % TAPS];
                const real *in = table + (v.at[i / TAPS] * G + h.at[i % TAPS]) * C;
                for (size_t c = 0; c < C; c++) out[c] += w * in[c];
            }
        }
    }
}

void resize_backward(real *dtable, const real *dy, size_t G, size_t T, size_t C)
{
    assert(G > 0 && T > 0 && dtable != dy);
    for (size_t row = 0; row < T; row++)
        for (size_t column = 0; column < T; column++) {
            const real *d = dy + (row * T + column) * C;
            if (G == T) {
                for (size_t c = 0; c < C; c++)
                    dtable[(row * G + column) * C + c] += d[c];
                continue;
            }
            const taps v = taps_of(row, G, T), h = taps_of(column, G, T);
            for (size_t i = 0; i < TAPS * TAPS; i++) {
                const real w = v.weight[i / TAPS] * h.weight[i % TAPS];
                real *to = dtable + (v.at[i / TAPS] * G + h.at[i % TAPS]) * C;
                for (size_t c = 0; c < C; c++) to[c] += w * d[c];
            }
        }
}
