/* test_product_f32.c - the door to products in float: by this process's kernel, and as
 * LVLM_KERNEL says, they are those of double. */
#undef LVLM_REAL_BITS
#define LVLM_REAL_BITS 32

#include "runtime/ops/product.h"

#include "formats/container/numeric.h"
#include "runtime/ops/linear.h"
#include "tests/runtime/ops/ops_test.h"
#include "tests/support/gradcheck.h"

/* M, N, K */
static const size_t sizes[][3] = {
    { 1, 9, 20 },     { 9, 1, 20 },    { 8, 8, 8 },       { 50, 17, 33 },
    { 128, 70, 300 }, { 16, 512, 72 }, { 300, 40, 1100 },
};

static real *array(size_t n, uint64_t seed)
{
    double *const x = test_calloc(n, sizeof *x);
    real *const out = test_calloc(n, sizeof *out);
    gradcheck_fill(x, n, seed);
    for (size_t i = 0; i < n; i++) out[i] = (real)x[i];
    test_free(x);
    return out;
}

/* Which of the products: a b^T, a b, a^T b. */
typedef enum kind { NT, NN, TN } kind;

/* a(m,k) b(k,n) summed in double. */
static double exact(kind which, const real *a, const real *b, size_t m, size_t n,
                    const size_t *size)
{
    const size_t M = size[0], N = size[1], K = size[2];
    double sum = 0;
    for (size_t k = 0; k < K; k++)
        sum += (double)a[which == TN ? k * M + m : m * K + k] *
               (double)b[which == NT ? n * K + k : k * N + n];
    return sum;
}

static void multiply(kind which, real *c, const real *a, const real *b,
                     const size_t *size, real alpha, real beta,
                     const product_place *place)
{
    const size_t M = size[0], N = size[1], K = size[2];
    if (which == NT) product_nt(c, N, a, K, b, K, M, N, K, alpha, beta, place);
    if (which == NN) product_nn(c, N, a, K, b, N, M, N, K, alpha, beta, place);
    if (which == TN) product_tn(c, N, a, M, b, N, M, N, K, alpha, beta, place);
}

/* The largest error, of operands rounded to so many terms. */
static double small_error(kind which, const size_t *size, real beta, unsigned terms)
{
    const size_t M = size[0], N = size[1], K = size[2];
    real *const a = array(M * K, 1), *const b = array(N * K, 2);
    real *const c = array(M * N, 3), *const before = array(M * N, 3);
    const product_place place = { array(product_place_numel(M, K), 4), terms };
    double most = 0;
    multiply(which, c, a, b, size, (real)0.5, beta, &place);
    if (terms > 0) {
        product_round(a, a, K, M, K, terms);
        product_round(b, b, K, N, K, terms);
    }
    for (size_t m = 0; m < M; m++)
        for (size_t n = 0; n < N; n++)
            most = fmax(
                most, fabs((double)c[m * N + n] - 0.5 * exact(which, a, b, m, n, size) -
                           (double)(beta * before[m * N + n])));
    test_free(a), test_free(b), test_free(c), test_free(before);
    test_free(place.data);
    return most;
}

static void small_products_are_those_of_double(void **state)
{
    static const double allowed[] = { 1e-5 /* observed 3e-6 */, 1e-5, 3e-5 };
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (int which = NT; which <= TN; which++)
            for (int beta = 0; beta < 2; beta++)
                for (unsigned terms = 0; terms < 3; terms++) {
                    const double error =
                        small_error((kind)which, sizes[i], (real)beta, terms);
                    if (!(error <= allowed[terms]))
                        fail_msg("product %d, %zu x %zu x %zu, %u terms: %.3g", which,
                                 sizes[i][0], sizes[i][1], sizes[i][2], terms, error);
                }
}

/* ---- rounded maps ---------------------------------------------------------------- */

static ops_scratch scratch_for(size_t I, size_t O, unsigned terms)
{
    const size_t numel = linear_scratch(I, O, 2);
    return (ops_scratch){ test_calloc(numel, sizeof(real)), numel, 2, terms };
}

/* The largest error of y, dx and dw for operands of which so many terms are left. */
static double linear_error(size_t N, size_t I, size_t O, lvlm_dtype dtype,
                           unsigned terms)
{
    real *const x = array(N * I, 1), *const w = array(O * I, 2);
    real *const dy = array(N * O, 3), *const y = array(N * O, 4);
    real *const dx = test_calloc(N * I, sizeof *dx);
    real *const dw = test_calloc(O * I, sizeof *dw);
    void *const stored = test_calloc(O * I, 4);
    const ops_scratch scratch = scratch_for(I, O, terms);
    lvlm_convert_values(stored, dtype, w, LVLM_F32, O * I);
    lvlm_convert_values(w, LVLM_F32, stored, dtype, O * I);
    linear_forward(y, x, (lvlm_stored){ stored, dtype }, NULL, N, I, O, &scratch);
    linear_backward(dx, dw, NULL, dy, x, (lvlm_stored){ stored, dtype }, N, I, O,
                    &scratch);
    if (terms > 0) {
        product_round(x, x, I, N, I, terms);
        product_round(w, w, I, O, I, terms);
        product_round(dy, dy, O, N, O, terms);
    }
    double most = 0;
    for (size_t n = 0; n < N; n++)
        for (size_t o = 0; o < O; o++)
            most = fmax(most, fabs((double)y[n * O + o] -
                                   exact(NT, x, w, n, o, (size_t[]){ N, O, I })));
    for (size_t n = 0; n < N; n++)
        for (size_t i = 0; i < I; i++)
            most = fmax(most, fabs((double)dx[n * I + i] -
                                   exact(NN, dy, w, n, i, (size_t[]){ N, I, O })));
    for (size_t o = 0; o < O; o++)
        for (size_t i = 0; i < I; i++)
            most = fmax(most, fabs((double)dw[o * I + i] -
                                   exact(TN, dy, x, o, i, (size_t[]){ O, I, N })));
    test_free(x), test_free(w), test_free(dy), test_free(y), test_free(dx);
    test_free(dw), test_free(stored), test_free(scratch.data);
    return most;
}

/* Whichever unit multiplies, where rows are not few. Of two terms the product of the
 * second ones may be left out: at most 2^-16 of each product. */
static void linear_maps_multiply_what_is_rounded(void **state)
{
    static const size_t maps[][3] = {
        { 9, 9, 7 }, { 40, 70, 33 }, { 300, 20, 600 }, { 130, 600, 20 }
    };
    static const lvlm_dtype dtypes[] = { LVLM_BF16, LVLM_F16, LVLM_F32 };
    (void)state;
    for (size_t i = 0; i < COUNT(maps); i++)
        for (size_t d = 0; d < COUNT(dtypes); d++)
            for (unsigned terms = 0; terms <= 2; terms++)
                ASSERT_BELOW(
                    linear_error(maps[i][0], maps[i][1], maps[i][2], dtypes[d], terms),
                    terms == 2 ? 5e-4 : 5e-5 /* observed 4e-6, 1.2e-5 */);
}

/* ... and where they are few, forward multiplies what it is given. */
static void few_rows_are_not_rounded(void **state)
{
    enum { N = LINEAR_ALIKE, I = 70, O = 33 };
    real *const x = array(N * I, 1), *const w = array(O * I, 2);
    real *const plain = array(N * O, 3), *const y = array(N * O, 4);
    const lvlm_stored stored = { w, LVLM_F32 };
    ops_scratch scratch = scratch_for(I, O, 0);
    (void)state;
    for (size_t n = 1; n <= N; n++) {
        scratch.terms = 0;
        linear_forward(plain, x, stored, NULL, n, I, O, &scratch);
        for (scratch.terms = 1; scratch.terms <= 2; scratch.terms++) {
            linear_forward(y, x, stored, NULL, n, I, O, &scratch);
            assert_memory_equal(y, plain, n * O * sizeof *y);
        }
    }
    test_free(x), test_free(w), test_free(plain), test_free(y);
    test_free(scratch.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_products_are_those_of_double),
        cmocka_unit_test(linear_maps_multiply_what_is_rounded),
        cmocka_unit_test(few_rows_are_not_rounded),
    };
    ops_threads(2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
