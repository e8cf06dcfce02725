/* adamw.c - one step of AdamW; see adamw.h. */
#include "runtime/tune/adamw.h"

#include <assert.h>
#include <math.h>

enum {
    PIECES = 64, /* each summed by one thread, then added in order */
    PARALLEL_MIN = 16384,
};

void lvlm_adamw_step(float *w, float *m, float *v, const float *g, size_t n,
                     size_t step, const lvlm_adamw *o)
{
    assert(step > 0);
    assert(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1);
    assert(isfinite(o->scale));
    const double correction1 = 1 - pow(o->beta1, (double)step);
    const double correction2 = sqrt(1 - pow(o->beta2, (double)step));
    const float keep = (float)(1 - o->lr * o->decay),
                rate = (float)(o->lr / correction1);
    const float beta2 = (float)o->beta2, rest1 = (float)(1 - o->beta1);
    const float rest2 = (float)(1 - o->beta2), eps = (float)o->eps;
    const float root = (float)correction2, scale = (float)o->scale;
#pragma omp parallel for simd schedule(static) if (n > PARALLEL_MIN)
    for (size_t i = 0; i < n; i++) {
        const float slope = scale * g[i];
        w[i] *= keep;
        m[i] += rest1 * (slope - m[i]);
        v[i] = beta2 * v[i] + rest2 * slope * slope;
        w[i] -= rate * m[i] / (sqrtf(v[i]) / root + eps);
    }
}

double lvlm_sum_of_squares(const float *x, size_t n)
{
    const size_t length = (n + PIECES - 1) / PIECES;
    double parts[PIECES], sum = 0;
    assert(x != NULL || n == 0);
#pragma omp parallel for schedule(static) if (n > PARALLEL_MIN)
    for (size_t p = 0; p < PIECES; p++) {
        const size_t end = (p + 1) * length < n ? (p + 1) * length : n;
        double part = 0;
        for (size_t i = p * length; i < end; i++) part += (double)x[i] * (double)x[i];
        parts[p] = part;
    }
    for (size_t p = 0; p < PIECES; p++) sum += parts[p];
    return sum;
}

size_t lvlm_not_finite(const float *x, size_t n)
{
    size_t found = 0;
#pragma omp parallel for schedule(static) reduction(+ : found) if (n > PARALLEL_MIN)
    for (size_t i = 0; i < n; i++) found += isfinite(x[i]) ? 0 : 1;
    return found;
}
