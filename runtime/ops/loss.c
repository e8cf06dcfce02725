/* loss.c - softcap and cross entropy per row. */
#include "runtime/ops/loss.h"

#include <assert.h>

#include "runtime/ops/vmath.h"

#define BLOCK 512 /* elements per block of exponentials */

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

void softcap_backward(real *dx, const real *dy, const real *y, real cap, size_t n)
{
    assert(cap > 0 && dx != dy && dx != y);
    if (dx == NULL) return;
#pragma omp parallel for simd schedule(static) if (n > LVLM_PARALLEL_MIN)
    for (size_t i = 0; i < n; i++) dx[i] += dy[i] * (1 - (y[i] / cap) * (y[i] / cap));
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
        for (size_t i = 0; i < len; i++) sum += (double)e[i];
    }
    *most_out = most;
    return log(sum);
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
        loss[n] = log_sum_exp(&most, x, V);
        loss[n] -= (double)x[targets[n]] - (double)most;
    }
}

void cross_entropy_backward(real *dlogits, const double *dloss, const real *logits,
                            const int64_t *targets, size_t N, size_t V)
{
    assert(V > 0 && dlogits != logits);
    if (dlogits == NULL) return;
#pragma omp parallel for schedule(static) if (N * V > LVLM_PARALLEL_MIN)
    for (size_t n = 0; n < N; n++) {
        const real *x = logits + n * V;
        real *dx = dlogits + n * V, most;
        if (is_ignored(targets[n], V)) continue;
        const real factor = (real)(dloss[n] * exp(-log_sum_exp(&most, x, V)));
        for (size_t begin = 0; begin < V; begin += BLOCK) {
            const size_t len = min_size(BLOCK, V - begin);
            real e[BLOCK];
            vexp(e, x + begin, most, len);
            for (size_t i = 0; i < len; i++) dx[begin + i] += factor * e[i];
        }
        dx[targets[n]] -= (real)dloss[n];
    }
}
