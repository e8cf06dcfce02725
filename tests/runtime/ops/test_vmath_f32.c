/* test_vmath_f32.c - float exp, tanh and erf compared with libm in double, in ulp. */
#undef LVLM_REAL_BITS
#define LVLM_REAL_BITS 32

#include "runtime/ops/vmath.h"
#include "tests/runtime/ops/ops_test.h"

enum { POINTS = 400001 };

typedef double exact_fn(double x);

static double worst_ulp(const float *got, const float *x, exact_fn *exact)
{
    double worst = 0;
    for (size_t i = 0; i < POINTS; i++) {
        const double want = exact((double)x[i]);
        const double ulp = ldexp(1, ilogb(want == 0 ? 1 : want) - 23);
        worst = fmax(worst, fabs((double)got[i] - want) / ulp);
    }
    return worst;
}

static void fill(float *x, double lo, double hi)
{
    for (size_t i = 0; i < POINTS; i++)
        x[i] = (float)(lo + (hi - lo) * (double)i / (POINTS - 1));
}

static void vexp_within_2_ulp(void **state)
{
    static float x[POINTS], y[POINTS];
    (void)state;
    fill(x, -69.3, 88);
    vexp(y, x, 0, POINTS);
    ASSERT_BELOW(worst_ulp(y, x, exp), 2 /* observed 0.97 */);
    fill(x, -1, 1);
    vexp(y, x, 0, POINTS);
    ASSERT_BELOW(worst_ulp(y, x, exp), 2 /* observed 0.83 */);
}

static void vtanh_within_2_ulp(void **state)
{
    static float x[POINTS], y[POINTS];
    (void)state;
    fill(x, -12, 12);
    vtanh(y, x, POINTS);
    ASSERT_BELOW(worst_ulp(y, x, tanh), 2 /* observed 1.3 */);
    fill(x, -0.7, 0.7);
    vtanh(y, x, POINTS);
    ASSERT_BELOW(worst_ulp(y, x, tanh), 2 /* observed 1.3 */);
}

static void verf_within_2_ulp(void **state)
{
    static float x[POINTS], y[POINTS];
    (void)state;
    fill(x, -5, 5);
    verf(y, x, POINTS);
    ASSERT_BELOW(worst_ulp(y, x, erf), 2 /* observed 1.3 */);
    fill(x, -1e-3, 1e-3);
    verf(y, x, POINTS);
    ASSERT_BELOW(worst_ulp(y, x, erf), 2 /* observed 0.9 */);
}

static void vexp_limits_and_nan(void **state)
{
    const float x[] = { -INFINITY, -1e30f, 1e30f, INFINITY, NAN, 0 };
    float y[6];
    (void)state;
    vexp(y, x, 0, 6);
    assert_true(y[0] == 0 && y[1] == 0);
    assert_true(y[2] > 1e38f && isfinite(y[2]) && y[3] == y[2]);
    assert_true(isnan(y[4]) && y[5] == 1);
    vtanh(y, x, 6);
    assert_true(y[0] == -1 && y[1] == -1 && y[2] == 1 && y[3] == 1);
    assert_true(isnan(y[4]) && y[5] == 0);
    verf(y, x, 6);
    assert_true(y[0] == -1 && y[1] == -1 && y[2] == 1 && y[3] == 1);
    assert_true(isnan(y[4]) && y[5] == 0);
}

static void reductions_cover_every_length(void **state)
{
    float x[70], w[70] = { 0 };
    (void)state;
    for (size_t n = 1; n <= COUNT(x); n++) {
        for (size_t i = 0; i < n; i++) x[i] = (float)i - (float)n;
        assert_true(vsum(x, n) == -(float)(n * (n + 1) / 2));
        assert_true(vmax(x, n) == -1);
        assert_true(vmean(w, x, n) == 0);
        for (size_t i = 0; i < n; i++) w[i] = 0.5f;
        assert_true(vmean(w, x, n) == -(double)(n + 1) / 2);
        memset(w, 0, sizeof w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vexp_within_2_ulp),
        cmocka_unit_test(vtanh_within_2_ulp),
        cmocka_unit_test(verf_within_2_ulp),
        cmocka_unit_test(vexp_limits_and_nan),
        cmocka_unit_test(reductions_cover_every_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
