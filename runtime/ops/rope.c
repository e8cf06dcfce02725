/* rope.c - rotary positions on half-split pairs. */
#include "runtime/ops/rope.h"

#include <assert.h>

/* Every intermediate value is a real. Models are trained with frequencies, angles,
 * cosines and sines that are f32, and the angle pos * inv_freq is rounded: at position
 * 10^5 that is 4e-3 in the angle, far above any other rounding, so an f32 run must
 * round where training did. Each function is computed in double and rounded once, like
 * a correctly rounded f32 function. The f64 build rounds nothing to f32: it computes
 * the formulas as written. */
void rope_frequencies(real *inv_freq, size_t n, double theta)
{
    assert(n > 0 && theta > 0);
    for (size_t j = 0; j < n; j++) {
        const real exponent = (real)(2 * j) / (real)(2 * n);
        inv_freq[j] = 1 / (real)pow(theta, (double)exponent);
    }
}

void rope_scale_llama3(real *inv_freq, size_t n, double factor, double low, double high,
                       double original)
{
    const real two_pi = (real)6.28318530717958647692;
    for (size_t j = 0; j < n; j++) {
        const real wave = two_pi / inv_freq[j], slow = inv_freq[j] / (real)factor;
        if (wave < (real)(original / high)) continue;
        if (wave > (real)(original / low)) {
            inv_freq[j] = slow;
            continue;
        }
        const real share = ((real)original / wave - (real)low) / (real)(high - low);
        inv_freq[j] = (1 - share) * slow + share * inv_freq[j];
    }
}

void rope_table(real *cosines, real *sines, const int64_t *positions,
                const unsigned char *axis, const real *inv_freq, size_t N, size_t n)
{
#pragma omp parallel for schedule(static) if (N * n > LVLM_PARALLEL_MIN)
    for (size_t j = 0; j < n; j++) {
        const int64_t *at = positions + (axis != NULL ? axis[j] * N : 0);
        for (size_t i = 0; i < N; i++) {
            assert(at[i] > -(1 << 24) && at[i] < 1 << 24);
            const real angle = (real)at[i] * inv_freq[j];
            cosines[i * n + j] = (real)cos((double)angle);
            sines[i * n + j] = (real)sin((double)angle);
        }
    }
}

/* y = x rotated by the angle whose cosine is c and whose sine is direction * s; y may
 * be x, because a pair is read before it is written. x, y (N,heads,D) c, s (N,D/2) */
static void rotate(real *y, const real *x, const real *c, const real *s, real direction,
                   size_t N, size_t heads, size_t D)
{
    assert(D > 0 && D % 2 == 0);
    const size_t half = D / 2;
#pragma omp parallel for collapse(2)                                                   \
    schedule(static) if (N * heads * D > LVLM_PARALLEL_MIN)
    for (size_t n = 0; n < N; n++)
        for (size_t h = 0; h < heads; h++) {
            const real *x_lo = x + (n * heads + h) * D, *x_hi = x_lo + half;
            real *y_lo = y + (n * heads + h) * D, *y_hi = y_lo + half;
            const real *c_n = c + n * half, *s_n = s + n * half;
#pragma omp simd
            for (size_t j = 0; j < half; j++) {
                const real lo = x_lo[j], hi = x_hi[j], sine = direction * s_n[j];
                y_lo[j] = lo * c_n[j] - hi * sine;
                y_hi[j] = hi * c_n[j] + lo * sine;
            }
        }
}

void rope_forward(real *y, const real *x, const real *cosines, const real *sines,
                  size_t N, size_t heads, size_t D)
{
    rotate(y, x, cosines, sines, 1, N, heads, D);
}

void rope_backward(real *dx, const real *dy, const real *cosines, const real *sines,
                   size_t N, size_t heads, size_t D)
{
    rotate(dx, dy, cosines, sines, -1, N, heads, D);
}
