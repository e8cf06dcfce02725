/* test_denormals.c - negligible probabilities are 0: products with denormals are a
 * hundred times slower on many processors. */
#include "runtime/ops/attention.h"
#include "runtime/ops/loss.h"
#include "runtime/ops/vmath.h"
#include "tests/runtime/ops/ops_test.h"

enum { T = 600 }; /* more than a tile of keys */

static void all_zero_or_normal(const real *x, size_t n, const char *what)
{
    size_t n_zero = 0, n_normal = 0;
    for (size_t i = 0; i < n; i++) {
        n_zero += fpclassify(x[i]) == FP_ZERO;
        n_normal += fpclassify(x[i]) == FP_NORMAL;
    }
    if (n_zero + n_normal != n)
        fail_msg("%s: %zu of %zu are neither 0 nor normal", what, n - n_zero - n_normal,
                 n);
    assert_true(n_normal > 0);
}

/* Some below and some above where exp becomes 0, down to a spread of 200 in float and
 * more than double can hold. The last keys, a tile of their own, have the largest. */
static real score(size_t t, size_t j)
{
    const real spread = LVLM_REAL_BITS == 32 ? 200 : 1600;
    const real rise = j >= 512 ? 40 : 0;
    return rise - spread * (real)((t * 37 + j * 53) % T) / T;
}

/* With the identity as k and v, the scores are q and the result is P. */
static void attention_has_no_denormals(void **state)
{
    static real q[T * T], k[T * T], v[T * T], out[T * T], dout[T * T];
    static real dq[T * T], dk[T * T], dv[T * T], scratch[3 * T * T];
    static size_t lo[T], hi[T];
    const attention_dims dims = { T, T, 1, 1, T, 1, 0, lo, hi };
    const ops_scratch memory = { scratch, COUNT(scratch), 1 };
    (void)state;
    for (size_t t = 0; t < T; t++) {
        hi[t] = T;
        k[t * T + t] = v[t * T + t] = 1;
        for (size_t j = 0; j < T; j++) q[t * T + j] = score(t, j);
        for (size_t j = 0; j < T; j++) dout[t * T + j] = (real)((t + j) % 7) - 3;
    }
    assert_true(attention_scratch(&dims, 1) <= COUNT(scratch));
    attention_forward(out, q, k, v, &dims, &memory);
    all_zero_or_normal(out, T * T, "probabilities");
    attention_backward(dq, dk, dv, dout, q, k, v, &dims, &memory);
    all_zero_or_normal(dq, T * T, "dq");
    all_zero_or_normal(dk, T * T, "dk");
    all_zero_or_normal(dv, T * T, "dv");
}

static void loss_has_no_denormals(void **state)
{
    static real logits[T * T];
    static int64_t targets[T];
    static double loss[T];
    (void)state;
    for (size_t i = 0; i < T * T; i++) logits[i] = score(i / T, i % T);
    cross_entropy_gradient(loss, logits, targets, 1.0 / T, 0, T, T);
    all_zero_or_normal(logits, T * T, "gradient");
}

static void exp_is_zero_below_its_limit(void **state)
{
    const real least = LVLM_REAL_BITS == 32 ? (real)-69.3147 : (real)-623.832;
    const real x[] = { least * 2, least - 1, least + 1, least * 1000, -(real)INFINITY };
    real y[COUNT(x)];
    (void)state;
    vexp(y, x, 0, COUNT(x));
    assert_true(y[0] == 0 && y[1] == 0 && y[3] == 0 && y[4] == 0);
    assert_true(isnormal(y[2]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_has_no_denormals),
        cmocka_unit_test(loss_has_no_denormals),
        cmocka_unit_test(exp_is_zero_below_its_limit),
    };
    ops_threads(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
