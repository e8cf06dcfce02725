/* adamw.c - one step of AdamW; see adamw.h. */
#include "runtime/tune/adamw.h"

#include <assert.h>
#include <math.h>

enum {
    PIECES = 64, /* each summed by one thread, then added in order */
    PARALLEL_MIN = 16384,
};

/* The types of numbers in training; a macro, since only assertions use it. */
#define IS_REAL(dtype) ((dtype) == LVLM_F32 || (dtype) == LVLM_F64)

/* One for each precision: the same operations in the same order. */
// clang-format off
#define DEFINE_STEP(name, real, root_of)                                               \
    static void name(real *w, real *m, real *v, const real *g, size_t n, size_t step,  \
                     const lvlm_adamw *o)                                              \
    {                                                                                  \
        const double correction1 = 1 - pow(o->beta1, (double)step);                    \
        const double correction2 = sqrt(1 - pow(o->beta2, (double)step));              \
        const real keep = (real)(1 - o->lr * o->decay);                                \
        const real rate = (real)(o->lr / correction1), scale = (real)o->scale;         \
        const real beta2 = (real)o->beta2, rest1 = (real)(1 - o->beta1);               \
        const real rest2 = (real)(1 - o->beta2), eps = (real)o->eps;                   \
        const real root = (real)correction2;                                           \
        _Pragma("omp parallel for simd schedule(static) if (n > PARALLEL_MIN)")        \
        for (size_t i = 0; i < n; i++) {                                               \
            const real slope = scale * g[i];                                           \
            w[i] *= keep;                                                              \
            m[i] += rest1 * (slope - m[i]);                                            \
            v[i] = beta2 * v[i] + rest2 * slope * slope;                               \
            w[i] -= rate * m[i] / (root_of(v[i]) / root + eps);                        \
        }                                                                              \
    }
DEFINE_STEP(step_f32, float, sqrtf)
DEFINE_STEP(step_f64, double, sqrt)
// clang-format on

void lvlm_adamw_step(const lvlm_adamw_arrays *a, size_t step, const lvlm_adamw *o)
{
    assert(step > 0 && IS_REAL(a->dtype));
    assert(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1);
    assert(isfinite(o->scale));
    if (a->dtype == LVLM_F64)
        step_f64(a->w, a->m, a->v, a->g, a->n, step, o);
    else
        step_f32(a->w, a->m, a->v, a->g, a->n, step, o);
}

#define DEFINE_SUM(name, real)                                                         \
    static double name(const real *x, size_t begin, size_t end)                        \
    {                                                                                  \
        double sum = 0;                                                                \
        for (size_t i = begin; i < end; i++) sum += (double)x[i] * (double)x[i];       \
        return sum;                                                                    \
    }
DEFINE_SUM(sum_f32, float)
DEFINE_SUM(sum_f64, double)

double lvlm_sum_of_squares(lvlm_dtype dtype, const void *x, size_t n)
{
    const size_t length = (n + PIECES - 1) / PIECES;
    double parts[PIECES], sum = 0;
    assert(IS_REAL(dtype) && (x != NULL || n == 0));
#pragma omp parallel for schedule(static) if (n > PARALLEL_MIN)
    for (size_t p = 0; p < PIECES; p++) {
        const size_t end = (p + 1) * length < n ? (p + 1) * length : n;
        parts[p] = dtype == LVLM_F64 ? sum_f64(x, p * length, end)
                                     : sum_f32(x, p * length, end);
    }
    for (size_t p = 0; p < PIECES; p++) sum += parts[p];
    return sum;
}

size_t lvlm_not_finite(lvlm_dtype dtype, const void *x, size_t n)
{
    const double *const wide = dtype == LVLM_F64 ? x : NULL;
    const float *const narrow = dtype == LVLM_F64 ? NULL : x;
    size_t found = 0;
    assert(IS_REAL(dtype));
#pragma omp parallel for schedule(static) reduction(+ : found) if (n > PARALLEL_MIN)
    for (size_t i = 0; i < n; i++)
        found += (wide != NULL ? isfinite(wide[i]) : isfinite(narrow[i])) ? 0 : 1;
    return found;
}
