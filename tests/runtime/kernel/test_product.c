/* test_product.c - products of every unit compared with double, for each class of
 * shapes, kind of operand and number of terms. */
#include "tests/runtime/kernel/kernel_test.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>

#include "runtime/kernel/output.h"
#include "tests/support/gradcheck.h"

/* M, N, K: one, few, odd sizes and tails, several groups, pieces and stretches. */
static const size_t sizes[][3] = {
    { 1, 1, 1 },     { 5, 1, 3 },     { 1, 7, 64 },     { 16, 16, 32 },
    { 33, 17, 31 },  { 13, 49, 70 },  { 97, 3, 1100 },  { 20, 300, 40 },
    { 300, 20, 40 }, { 64, 50, 512 }, { 17, 19, 4200 }, { 20, 1200, 33 },
    { 700, 20, 96 },
};

enum { STRETCH = 4096 };

typedef struct operand {
    lvlm_matrix matrix;
    void *data;
    double *exact; /* (rows,K), rounded to what takes part */
} operand;

typedef struct problem {
    operand left, right;
    size_t M, N, K;
    unsigned levels;
} problem;

/* The sum of the first terms of x, by a way of its own: in double. */
static double rounded(double x, unsigned n_terms)
{
    double sum = 0;
    for (unsigned t = 0; t < n_terms; t++) {
        const float rest = (float)(x - sum);
        sum += (double)lvlm_f32_of_bf16(lvlm_bf16_of_f32(rest));
    }
    return sum;
}

static operand make(size_t rows, size_t K, lvlm_dtype dtype, bool turned,
                    unsigned levels, uint64_t seed)
{
    const size_t ld = turned ? rows : K;
    double *const x = test_calloc(rows * K, sizeof *x);
    operand o = { .data = test_calloc(rows * K, sizeof(float)),
                  .exact = test_calloc(rows * K, sizeof(double)) };
    gradcheck_fill(x, rows * K, seed);
    lvlm_convert_values(o.data, dtype, x, LVLM_F64, rows * K);
    lvlm_convert_values(x, LVLM_F64, o.data, dtype, rows * K);
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < K; k++)
            o.exact[r * K + k] = rounded(x[turned ? k * rows + r : r * K + k], levels);
    o.matrix = (lvlm_matrix){ o.data, dtype, ld, turned };
    test_free(x);
    return o;
}

static void release(operand *o)
{
    test_free(o->data), test_free(o->exact);
}

static float *run(const problem *p, const lvlm_unit *unit, lvlm_output out,
                  bool packs_left, size_t n_threads)
{
    const size_t n_bytes = lvlm_product_scratch(STRETCH, n_threads);
    void *scratch = NULL;
    assert_int_equal(posix_memalign(&scratch, 64, n_bytes), 0);
    memset(scratch, 0xff, n_bytes); /* NaN: what is not written must not be read */
    const lvlm_product product = {
        p->left.matrix, p->right.matrix, p->M,   p->N, p->K, out,
        p->levels,      packs_left,      STRETCH
    };
    lvlm_product_run(&product, unit, scratch, n_threads);
    free(scratch);
    return out.data;
}

static double *exact_product(const problem *p)
{
    double *const c = test_calloc(p->M * p->N, sizeof *c);
    for (size_t m = 0; m < p->M; m++)
        for (size_t n = 0; n < p->N; n++)
            for (size_t k = 0; k < p->K; k++)
                c[m * p->N + n] +=
                    p->left.exact[m * p->K + k] * p->right.exact[n * p->K + k];
    return c;
}

/* Relative L2. */
static double relative_error(const float *got, const double *want, size_t n)
{
    double error = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)got[i] - want[i];
        error += d * d;
        size += want[i] * want[i];
    }
    return sqrt(error / size);
}

static const struct {
    lvlm_dtype left, right;
    bool left_turned, right_turned, packs_left;
} kinds[] = {
    { LVLM_BF16, LVLM_F32, false, false, false }, /* y */
    { LVLM_F16, LVLM_F32, false, false, false },
    { LVLM_F32, LVLM_F32, false, false, false },
    { LVLM_F32, LVLM_BF16, false, true, true }, /* dx */
    { LVLM_F32, LVLM_F16, false, true, true },
    { LVLM_F32, LVLM_F32, false, true, true },
    { LVLM_F32, LVLM_F32, true, true, true }, /* dw */
    { LVLM_F32, LVLM_BF16, true, false, false },
};

/* Of two terms the product of both second ones is left out: below 2^-16. */
static double allowed(unsigned levels)
{
    return levels == 2 ? 1e-5 /* observed 5e-6 */ : 1.2e-6 /* observed 3e-7 */;
}

static void check_products(const lvlm_unit *unit)
{
    double worst[4] = { 0 };
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (size_t j = 0; j < COUNT(kinds); j++)
            for (unsigned levels = 1; levels <= 3; levels++) {
                problem p = { .M = sizes[i][0],
                              .N = sizes[i][1],
                              .K = sizes[i][2],
                              .levels = levels };
                p.left = make(p.M, p.K, kinds[j].left, kinds[j].left_turned, levels, 1);
                p.right =
                    make(p.N, p.K, kinds[j].right, kinds[j].right_turned, levels, 2);
                double *const want = exact_product(&p);
                float *const c = test_calloc(p.M * p.N, sizeof *c);
                const lvlm_output out = { .data = c, .ld = p.N, .scale = 1 };
                memset(c, 0xff, p.M * p.N * sizeof *c);
                run(&p, unit, out, kinds[j].packs_left, 2);
                const double error = relative_error(c, want, p.M * p.N);
                worst[levels] = fmax(worst[levels], error);
                if (!(error <= allowed(levels)))
                    fail_msg("%s: %zu x %zu x %zu, kind %zu, %u terms: %.3g",
                             unit->name, p.M, p.N, p.K, j, levels, error);
                release(&p.left), release(&p.right);
                test_free(want), test_free(c);
            }
    if (getenv("LVLM_TEST_SHOW") != NULL)
        print_message("%s: %.2g %.2g %.2g\n", unit->name, worst[1], worst[2], worst[3]);
}

static void products_are_those_of_double(void **state)
{
    (void)state;
    with_units(check_products);
}

/* ---- outputs --------------------------------------------------------------------- */

static void check_outputs(const lvlm_unit *unit)
{
    problem p = { .M = 37, .N = 21, .K = 5000, .levels = 3 };
    float bias[37], c[37 * 21], turned[21 * 40];
    p.left = make(p.M, p.K, LVLM_BF16, false, 3, 1);
    p.right = make(p.N, p.K, LVLM_F32, false, 3, 2);
    double *const want = exact_product(&p);
    for (size_t m = 0; m < p.M; m++) bias[m] = (float)m;
    for (size_t i = 0; i < COUNT(c); i++) c[i] = 1;
    for (size_t i = 0; i < COUNT(turned); i++) turned[i] = 7;
    run(&p, unit, (lvlm_output){ .data = c, .ld = 21, .adds = true, .scale = 2 }, true,
        1);
    run(&p, unit,
        (lvlm_output){
            .data = turned, .ld = 40, .turned = true, .bias = bias, .scale = 1 },
        false, 3);
    for (size_t m = 0; m < p.M; m++)
        for (size_t n = 0; n < p.N; n++) {
            const double x = want[m * p.N + n];
            assert_true(fabs((double)c[m * p.N + n] - (1 + 2 * x)) < 1e-3);
            assert_true(fabs((double)turned[n * 40 + m] - (x + (double)m)) < 1e-3);
        }
    for (size_t n = 0; n < p.N; n++)
        for (size_t m = p.M; m < 40; m++) assert_true(turned[n * 40 + m] == 7);
    release(&p.left), release(&p.right), test_free(want);
}

static void outputs_are_added_scaled_turned_and_biased(void **state)
{
    (void)state;
    with_units(check_outputs);
}

/* Those that are so large that they are written past the caches are, bit for bit, those
 * that are not, because they are not aligned; also where squares are not whole. */
static void check_large(const lvlm_unit *unit)
{
    enum { M = 1032, N = 310, K = 40, LD = 1040 };
    problem p = { .M = M, .N = N, .K = K, .levels = 1 };
    float *const bias = test_calloc(M, sizeof *bias);
    float *const some = test_calloc(N * LD + 1, sizeof *some);
    void *large = NULL;
    assert_int_equal(posix_memalign(&large, 64, N * LD * sizeof(float)), 0);
    memset(large, 0, N * LD * sizeof(float));
    for (size_t m = 0; m < M; m++) bias[m] = (float)m / 7;
    p.left = make(M, K, LVLM_BF16, false, 1, 1);
    p.right = make(N, K, LVLM_F32, false, 1, 2);
    lvlm_output out = { large, LD, true, false, bias, 0.7f };
    assert_true(lvlm_output_pours(&out, M, N));
    run(&p, unit, out, false, 3);
    out.data = some + ((uintptr_t)some % 64 == 0);
    assert_false(lvlm_output_pours(&out, M, N));
    run(&p, unit, out, false, 3);
    assert_memory_equal(large, out.data, N * LD * sizeof(float));
    release(&p.left), release(&p.right);
    test_free(bias), test_free(some), free(large);
}

static void large_outputs_are_those_of_small_ones(void **state)
{
    (void)state;
    with_units(check_large);
}

static void check_threads(const lvlm_unit *unit)
{
    enum { M = 420, N = 60, K = 700 };
    problem p = { .M = M, .N = N, .K = K };
    float *const one = test_calloc(M * N, sizeof *one);
    float *const many = test_calloc(M * N, sizeof *many);
    p.left = make(M, K, LVLM_BF16, false, 3, 1);
    p.right = make(N, K, LVLM_F32, false, 3, 2);
    for (p.levels = 1; p.levels <= 3; p.levels++) {
        const bool packs_left = p.levels == 2;
        run(&p, unit, (lvlm_output){ .data = one, .ld = N, .scale = 1 }, packs_left, 1);
        for (size_t threads = 2; threads <= 32; threads *= 4) {
            run(&p, unit, (lvlm_output){ .data = many, .ld = N, .scale = 1 },
                packs_left, threads);
            assert_memory_equal(one, many, M * N * sizeof *one);
        }
    }
    release(&p.left), release(&p.right), test_free(one), test_free(many);
}

static void bits_do_not_depend_on_threads(void **state)
{
    (void)state;
    with_units(check_threads);
}

/* Of the time of `threads`, how much is work if each task takes as long. */
static double efficiency(size_t tasks, size_t threads)
{
    const size_t rounds = (tasks + threads - 1) / threads;
    return (double)tasks / (double)(rounds * threads);
}

/* The large maps of real models: 288 tokens of a text of 2048, 256 patches of a tower
 * of 1152. */
static void check_tasks(const lvlm_unit *unit)
{
    static const struct {
        size_t rows, in, out;
    } maps[] = { { 288, 2048, 2048 },  { 288, 2048, 16384 }, { 288, 16384, 2048 },
                 { 256, 1152, 1152 },  { 256, 1152, 4304 },  { 256, 4304, 1152 },
                 { 288, 2048, 257216 } };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        for (size_t threads = 2; threads <= 64; threads *= 2) {
            const lvlm_product p = { .left = { NULL, LVLM_BF16, maps[i].in, false },
                                     .right = { NULL, LVLM_F32, maps[i].in, false },
                                     .M = maps[i].out,
                                     .N = maps[i].rows,
                                     .K = maps[i].in,
                                     .levels = 1,
                                     .stretch = 4096 };
            const size_t tasks = lvlm_product_tasks(&p, unit, threads);
            assert_true(tasks >= threads);
            assert_true(efficiency(tasks, threads) > 0.75 /* observed 0.77 to 1 */);
        }
}

static void there_is_work_for_many_threads(void **state)
{
    (void)state;
    with_units(check_tasks);
}

/* ---- accuracy beside OpenBLAS ---------------------------------------------------- */

static double sgemm_error(const problem *p, const double *want)
{
    float *const w = test_calloc(p->M * p->K, sizeof *w);
    float *const c = test_calloc(p->M * p->N, sizeof *c);
    lvlm_convert_values(w, LVLM_F32, p->left.data, p->left.matrix.dtype, p->M * p->K);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)p->M, (int)p->N,
                (int)p->K, 1, w, (int)p->K, p->right.data, (int)p->K, 0, c, (int)p->N);
    const double error = relative_error(c, want, p->M * p->N);
    test_free(w), test_free(c);
    return error;
}

/* A class of shapes is a length of the sum. */
static void check_accuracy(const lvlm_unit *unit)
{
    static const size_t lengths[] = { 64, 1152, 2048, 6000, 16384 };
    for (size_t i = 0; i < COUNT(lengths); i++) {
        problem p = { .M = 40, .N = 40, .K = lengths[i], .levels = 3 };
        float c[40 * 40];
        p.left = make(p.M, p.K, LVLM_BF16, false, 3, 1);
        p.right = make(p.N, p.K, LVLM_F32, false, 3, 2);
        double *const want = exact_product(&p);
        run(&p, unit, (lvlm_output){ .data = c, .ld = 40, .scale = 1 }, false, 1);
        const double error = relative_error(c, want, COUNT(c));
        const double other = sgemm_error(&p, want);
        if (getenv("LVLM_TEST_SHOW") != NULL)
            print_message("%s, %zu: %.2g, sgemm %.2g\n", unit->name, p.K, error, other);
        if (!(error <= 1.2 * other))
            fail_msg("%s, %zu: %.3g, sgemm %.3g", unit->name, p.K, error, other);
        release(&p.left), release(&p.right), test_free(want);
    }
}

static void float32_is_as_accurate_as_sgemm(void **state)
{
    (void)state;
    with_units(check_accuracy);
}

/* ---- values that are not ordinary ------------------------------------------------ */

static void check_special(const lvlm_unit *unit)
{
    enum { K = 40 };
    const float most = 3.4e38f; /* would round to infinity in bf16 */
    float x[16 * K] = { 0 }, c[16 * 16];
    uint16_t w[16 * K] = { 0 };
    for (size_t i = 0; i < 16; i++) w[i * K + 3] = lvlm_bf16_of_f32(1);
    x[0 * K + 3] = INFINITY, x[1 * K + 3] = -INFINITY, x[2 * K + 3] = NAN;
    x[3 * K + 3] = most, x[4 * K + 3] = lvlm_f32_of_bits(0x7f800001u); /* NaN */
    x[5 * K + 3] = -0x1p-100f;
    problem p = { .M = 16, .N = 16, .K = K };
    p.left.matrix = (lvlm_matrix){ w, LVLM_BF16, K, false };
    p.right.matrix = (lvlm_matrix){ x, LVLM_F32, K, false };
    for (p.levels = 1; p.levels <= 3; p.levels++) {
        run(&p, unit, (lvlm_output){ .data = c, .ld = 16, .scale = 1 }, false, 1);
        assert_true(c[0] == INFINITY && c[1] == -INFINITY && isnan(c[2]) &&
                    isnan(c[4]) && c[5] == -0x1p-100f && c[6] == 0);
        assert_true(isfinite(c[3]) && c[3] > 0.99f * most);
    }
}

static void infinities_and_nan_stay_in_their_column(void **state)
{
    (void)state;
    with_units(check_special);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_double),
        cmocka_unit_test(outputs_are_added_scaled_turned_and_biased),
        cmocka_unit_test(large_outputs_are_those_of_small_ones),
        cmocka_unit_test(bits_do_not_depend_on_threads),
        cmocka_unit_test(there_is_work_for_many_threads),
        cmocka_unit_test(float32_is_as_accurate_as_sgemm),
        cmocka_unit_test(infinities_and_nan_stay_in_their_column),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
