/* activation.c - elementwise activations, plain and gated.
 *
 * Arrays are processed in blocks that fit the L1 cache. For a block, `values` computes
 * act(x), and `slopes` computes act(x) and act'(x); everything else is shared. */
#include "runtime/ops/activation.h"

#include <assert.h>
#include <string.h>

#include "runtime/ops/vmath.h"

#define BLOCK 512 /* elements per block */

static const real gelu_c = (real)0.797884560802865355880; /* sqrt(2/pi) */
static const real gelu_a = (real)0.044715;
static const real sqrt_half = (real)0.707106781186547524401;
static const real inv_sqrt_2pi = (real)0.398942280401432677940;

/* gelu_tanh(x) = x / (1 + e), e = exp(-2 c (x + a x^3)): the same function without the
 * cancellation in 1 + tanh for negative x. e (n) x (n) */
static void gelu_tanh_exp(real *e, const real *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        e[i] = -2 * gelu_c * (x[i] + gelu_a * x[i] * x[i] * x[i]);
    vexp(e, e, 0, n);
}

/* y = erf(x / sqrt(2)): gelu(x) = x / 2 (1 + y).  y (n)  x (n) */
static void gelu_erf(real *y, const real *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) y[i] = x[i] * sqrt_half;
    verf(y, y, n);
}

/* e = exp(-a x): x / (1 + e) is silu for a = 1, quick gelu for a = 1.702.
 * e (n)  x (n) */
static void swish_exp(real *e, const real *x, real a, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) e[i] = -a * x[i];
    vexp(e, e, 0, n);
}

static real steepness(lvlm_activation act)
{
    return act == LVLM_ACTIVATION_QUICK_GELU ? (real)1.702 : 1;
}

/* y = act(x).  y, x (n), n <= BLOCK, y not x */
static void values(real *y, const real *x, lvlm_activation act, size_t n)
{
    assert(n <= BLOCK && y != x);
    switch (act) {
    case LVLM_ACTIVATION_GELU_TANH: gelu_tanh_exp(y, x, n);
#pragma omp simd
        for (size_t i = 0; i < n; i++) y[i] = x[i] / (1 + y[i]);
        return;
    case LVLM_ACTIVATION_GELU: gelu_erf(y, x, n);
#pragma omp simd
        for (size_t i = 0; i < n; i++) y[i] = x[i] / 2 * (1 + y[i]);
        return;
    case LVLM_ACTIVATION_QUICK_GELU:
    case LVLM_ACTIVATION_SILU: swish_exp(y, x, steepness(act), n);
#pragma omp simd
        for (size_t i = 0; i < n; i++) y[i] = x[i] / (1 + y[i]);
        return;
    case LVLM_ACTIVATION_RELU:
        for (size_t i = 0; i < n; i++) y[i] = x[i] <= 0 ? 0 : x[i];
        return;
    default: assert(act == LVLM_ACTIVATION_IDENTITY); memcpy(y, x, n * sizeof *y);
    }
}

/* y = act(x), slope = act'(x).  y, slope, x (n), n <= BLOCK, three different arrays */
static void slopes(real *y, real *slope, const real *x, lvlm_activation act, size_t n)
{
    assert(n <= BLOCK && y != x && slope != x && y != slope);
    switch (act) {
    case LVLM_ACTIVATION_GELU_TANH: gelu_tanh_exp(slope, x, n);
#pragma omp simd
        for (size_t i = 0; i < n; i++) {
            const real s = 1 / (1 + slope[i]); /* sigmoid; slope[i] * s = 1 - s */
            const real inner = 2 * gelu_c * (1 + 3 * gelu_a * x[i] * x[i]);
            y[i] = x[i] * s;
            slope[i] = s + x[i] * s * (slope[i] * s) * inner;
        }
        return;
    case LVLM_ACTIVATION_GELU: gelu_erf(y, x, n);
#pragma omp simd
        for (size_t i = 0; i < n; i++) slope[i] = -x[i] * x[i] / 2;
        vexp(slope, slope, 0, n);
#pragma omp simd
        for (size_t i = 0; i < n; i++) {
            const real phi = (1 + y[i]) / 2;
            y[i] = x[i] * phi;
            slope[i] = phi + x[i] * inv_sqrt_2pi * slope[i];
        }
        return;
    case LVLM_ACTIVATION_QUICK_GELU:
    case LVLM_ACTIVATION_SILU: swish_exp(slope, x, steepness(act), n);
#pragma omp simd
        for (size_t i = 0; i < n; i++) {
            const real s = 1 / (1 + slope[i]);
            y[i] = x[i] * s;
            slope[i] = s + steepness(act) * x[i] * s * (slope[i] * s);
        }
        return;
    case LVLM_ACTIVATION_RELU:
        for (size_t i = 0; i < n; i++) {
            y[i] = x[i] <= 0 ? 0 : x[i]; /* NaN stays NaN */
            slope[i] = x[i] > 0;
        }
        return;
    default:
        assert(act == LVLM_ACTIVATION_IDENTITY);
        memcpy(y, x, n * sizeof *y);
        for (size_t i = 0; i < n; i++) slope[i] = 1;
    }
}

void activation_forward(real *y, const real *g, const real *u, lvlm_activation act,
                        size_t n)
{
#pragma omp parallel for schedule(static) if (n > LVLM_PARALLEL_MIN)
    for (size_t begin = 0; begin < n; begin += BLOCK) {
        const size_t len = min_size(BLOCK, n - begin);
        real a[BLOCK];
        values(a, g + begin, act, len);
        if (u == NULL) {
            memcpy(y + begin, a, len * sizeof *y);
            continue;
        }
#pragma omp simd
        for (size_t i = 0; i < len; i++) y[begin + i] = a[i] * u[begin + i];
    }
}

/* One block; all arrays begin with it. */
static void backward_block(real *dg, real *du, const real *dy, const real *g,
                           const real *u, lvlm_activation act, size_t n)
{
    real a[BLOCK], slope[BLOCK];
    if (n == 0) return; /* for gcc, which would warn of the arrays */
    slopes(a, slope, g, act, n);
    for (size_t i = 0; dg != NULL && u == NULL && i < n; i++) dg[i] += dy[i] * slope[i];
    for (size_t i = 0; dg != NULL && u != NULL && i < n; i++)
        dg[i] += dy[i] * u[i] * slope[i];
    for (size_t i = 0; du != NULL && i < n; i++) du[i] += dy[i] * a[i];
}

void activation_backward(real *dg, real *du, const real *dy, const real *g,
                         const real *u, lvlm_activation act, size_t n)
{
    assert(dg != dy && dg != g && du != dy && (u != NULL || du == NULL));
#pragma omp parallel for schedule(static) if (n > LVLM_PARALLEL_MIN)
    for (size_t i = 0; i < n; i += BLOCK)
        backward_block(dg != NULL ? dg + i : NULL, du != NULL ? du + i : NULL, dy + i,
                       g + i, u != NULL ? u + i : NULL, act, min_size(BLOCK, n - i));
}
