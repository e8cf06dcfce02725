/* vmath.c - functions of arrays that the compiler can vectorise. */
#include "runtime/ops/vmath.h"

#include <assert.h>
#include <string.h>

#if LVLM_REAL_BITS == 32
#define SIMD _Pragma("omp simd")

static const float exp_least = -69.3147f, exp_most = 88.02f; /* 2^-100, 2^127 */

/* Cody and Waite: x = k ln 2 + r with |r| <= ln 2 / 2, exp r by Cephes' polynomial.
 * Adding 1.5 * 2^23 rounds to an integer that then sits in the low mantissa bits; no
 * float-to-int conversion, so NaN passes through. */
static inline float exp_one(float x)
{
    const float shifter = 12582912.0f;
    const int is_tiny = x < exp_least;
    x = is_tiny ? exp_least : x;
    x = x > exp_most ? exp_most : x;
    const float rounded = x * 1.44269504088896341f + shifter;
    const float k = rounded - shifter;
    const float r = x - k * 0.693359375f + k * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    uint32_t bits;
    memcpy(&bits, &rounded, sizeof bits);
    bits = (bits << 23) + (127u << 23); /* 2^k: the high bits are shifted out */
    float power;
    memcpy(&power, &bits, sizeof power);
    return is_tiny ? 0 : p * power;
}

/* Cephes: a polynomial near 0, where 1 - 2/(exp(2x) + 1) would cancel. */
static inline float tanh_one(float x)
{
    const float z = x * x, a = x < 0 ? -x : x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    const float near = p * z * x + x;
    const float far = 1.0f - 2.0f / (exp_one(2.0f * a) + 1.0f);
    const float signed_far = x < 0 ? -far : far;
    return a < 0.625f ? near : signed_far;
}

/* x + x P(x^2) near 0, else 1 - exp(-a - a Q(a)), both minimax polynomials of N. Juffa.
 * From 4 on it is 1. */
static inline float erf_one(float x)
{
    const float most = x < 0 ? -x : x, a = most > 4 ? 4 : most, z = a * a;
    float p = -5.96761703e-4f;
    p = p * z + 4.99119423e-3f;
    p = p * z - 2.67681349e-2f;
    p = p * z + 1.12819925e-1f;
    p = p * z - 3.76125336e-1f;
    p = p * z + 1.28379166e-1f;
    const float near = p * x + x;
    float q = -1.72853470e-5f * a + 3.83197126e-4f;
    q = q * z + (-3.88396438e-3f * a + 2.42546219e-2f);
    q = q * a - 1.06777877e-1f;
    q = q * a - 6.34846687e-1f;
    q = q * a - 1.28717512e-1f;
    const float far = 1.0f - exp_one(q * a - a);
    const float signed_far = x < 0 ? -far : far;
    return a < 0.927734375f ? near : signed_far;
}

#else
#define SIMD /* libm's functions are calls */

static inline double exp_one(double x)
{
    if (x < -623.832) return 0; /* 2^-900 */
    return exp(x > 709.0 ? 709.0 : x);
}

static inline double tanh_one(double x)
{
    return tanh(x);
}

static inline double erf_one(double x)
{
    return erf(x);
}

#endif

LVLM_SIMD_CLONES static void exp_all(real *y, const real *x, real shift, size_t n)
{
    SIMD for (size_t i = 0; i < n; i++) y[i] = exp_one(x[i] - shift);
}

LVLM_SIMD_CLONES static void tanh_all(real *y, const real *x, size_t n)
{
    SIMD for (size_t i = 0; i < n; i++) y[i] = tanh_one(x[i]);
}

LVLM_SIMD_CLONES static void erf_all(real *y, const real *x, size_t n)
{
    SIMD for (size_t i = 0; i < n; i++) y[i] = erf_one(x[i]);
}

LVLM_SIMD_CLONES static real sum_of(const real *x, size_t n)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += x[i];
    return sum;
}

/* Explicit lanes: clang does not reorder comparisons whose result depends on a NaN. */
LVLM_SIMD_CLONES static real most_of(const real *x, size_t n)
{
    enum { LANES = 16 };
    real most[LANES];
    size_t i = 0;
    assert(n > 0);
    for (size_t l = 0; l < LANES; l++) most[l] = x[0];
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            most[l] = x[i + l] > most[l] ? x[i + l] : most[l];
    for (; i < n; i++) most[0] = x[i] > most[0] ? x[i] : most[0];
    for (size_t l = 1; l < LANES; l++) most[0] = most[l] > most[0] ? most[l] : most[0];
    return most[0];
}

LVLM_SIMD_CLONES static double mean_of(const real *w, const real *x, size_t n)
{
    double sum = 0, weight = 0;
#pragma omp simd reduction(+ : sum, weight)
    for (size_t i = 0; i < n; i++) {
        sum += (double)w[i] * (double)x[i];
        weight += (double)w[i];
    }
    return weight > 0 ? sum / weight : 0;
}

/* ---- public --------------------------------------------------------------------- */

void vexp(real *y, const real *x, real shift, size_t n)
{
    exp_all(y, x, shift, n);
}

void vtanh(real *y, const real *x, size_t n)
{
    tanh_all(y, x, n);
}

void verf(real *y, const real *x, size_t n)
{
    erf_all(y, x, n);
}

real vsum(const real *x, size_t n)
{
    return sum_of(x, n);
}

real vmax(const real *x, size_t n)
{
    return most_of(x, n);
}

double vmean(const real *w, const real *x, size_t n)
{
    return mean_of(w, x, n);
}
