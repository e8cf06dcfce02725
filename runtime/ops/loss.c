/* loss.c - softcap and cross entropy per row. */
#include "runtime/ops/loss.h"

#include <assert.h>
#include <string.h>

#include "runtime/ops/vmath.h"

enum {
    BLOCK = 512, /* elements per block of exponentials */
    LANES = 8,
};

void softcap_forward(real *y, const real *x, real cap, size_t n)
{
    assert(cap > 0);
#pragma omp parallel for schedule(static) if (n > LVLM_PARALLEL_MIN)
    for (size_t begin = 0; begin < n; begin += BLOCK) {
        const size_t len = min_size(BLOCK, n - begin);
        for (size_t i = begin; i < begin + len; i++) y[i] = x[i] / cap;
        vtanh(y + begin, y + begin, len);
        for (size_t i = begin; i < begin + len; i++) y[i] *= cap;
    }
}

/* From the result of a softcap. */
static real softcap_slope(real y, real cap)
{
    return 1 - (y / cap) * (y / cap);
}

/* Sum of n <= BLOCK values in double, by lanes. */
static double block_sum(const real *x, size_t n)
{
    double lanes[LANES] = { 0 }, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) lanes[l] += (double)x[i + l];
    for (; i < n; i++) sum += (double)x[i];
    for (size_t l = 0; l < LANES; l++) sum += lanes[l];
    return sum;
}

/* log sum_v exp(x[v]) = *most_out + the result: two parts, so that the loss and the
 * probabilities subtract the large one exactly.  x (V) */
static double log_sum_exp(real *most_out, const real *x, size_t V)
{
    const real most = vmax(x, V);
    double sum = 0;
    for (size_t begin = 0; begin < V; begin += BLOCK) {
        const size_t len = min_size(BLOCK, V - begin);
        real e[BLOCK];
        vexp(e, x + begin, most, len);
        sum += block_sum(e, len);
    }
    *most_out = most;
    return log(sum);
}

/* -log softmax(x)[target], of log_sum_exp's two parts. */
static double loss_of(double log_sum, real most, real at_target)
{
    return log_sum - ((double)at_target - (double)most);
}

static int is_ignored(int64_t target, size_t V)
{
    assert(target < 0 || (uint64_t)target < V);
    (void)V;
    return target < 0;
}

void cross_entropy_forward(double *loss, const real *logits, const int64_t *targets,
                           size_t N, size_t V)
{
    assert(V > 0);
#pragma omp parallel for schedule(static) if (N * V > LVLM_PARALLEL_MIN)
    for (size_t n = 0; n < N; n++) {
        const real *x = logits + n * V;
        real most;
        loss[n] = 0;
        if (is_ignored(targets[n], V)) continue;
        const double log_sum = log_sum_exp(&most, x, V);
        loss[n] = loss_of(log_sum, most, x[targets[n]]);
    }
}

/* y (n <= BLOCK) to factor * exp(y - most), times the slope of a softcap whose results
 * y were. */
static void block_gradient(real *y, real most, real factor, real cap, size_t n)
{
    real e[BLOCK];
    vexp(e, y, most, n);
    if (cap > 0)
        for (size_t i = 0; i < n; i++) y[i] = factor * e[i] * softcap_slope(y[i], cap);
    else
        for (size_t i = 0; i < n; i++) y[i] = factor * e[i];
}

/* One row of cross_entropy_gradient; returns its loss. */
static double row_gradient(real *x, size_t target, double scale, real cap, size_t V)
{
    real most;
    const double log_sum = log_sum_exp(&most, x, V);
    const double loss = loss_of(log_sum, most, x[target]);
    const real factor = (real)(scale * exp(-log_sum));
    const real one = (real)scale * (cap > 0 ? softcap_slope(x[target], cap) : 1);
    for (size_t begin = 0; begin < V; begin += BLOCK)
        block_gradient(x + begin, most, factor, cap, min_size(BLOCK, V - begin));
    x[target] -= one;
    return loss;
}

void cross_entropy_gradient(double *loss, real *logits, const int64_t *targets,
                            double scale, real cap, size_t N, size_t V)
{
    assert(V > 0 && cap >= 0);
#pragma omp parallel for schedule(static) if (N * V > LVLM_PARALLEL_MIN)
    for (size_t n = 0; n < N; n++) {
        real *const x = logits + n * V;
        loss[n] = 0;
        if (is_ignored(targets[n], V))
            memset(x, 0, V * sizeof *x);
        else
            loss[n] = row_gradient(x, (size_t)targets[n], scale, cap, V);
    }
}
