/* test_linear.c - linear compared with a triple loop, gradients, stored dtypes. */
#include "formats/container/numeric.h"
#include "runtime/ops/linear.h"
#include "tests/runtime/ops/ops_test.h"
#include "tests/support/gradcheck.h"

/* N, I, O: one, few, odd sizes, and more than one panel each way */
static const size_t sizes[][3] = {
    { 1, 1, 1 },     { 1, 5, 7 },    { 3, 17, 5 },    { 8, 31, 33 },     { 13, 7, 9 },
    { 20, 700, 11 }, { 9, 40, 700 }, { 600, 3, 5 },   { 70, 1030, 600 }, { 1, 64, 8 },
    { 1, 33, 131 },  { 1, 67, 9 },   { 1, 700, 300 },
};

static double *array(size_t n, uint64_t seed)
{
    double *x = test_calloc(n, sizeof *x);
    gradcheck_fill(x, n, seed);
    return x;
}

static ops_scratch scratch_for(size_t I, size_t O, size_t n_threads)
{
    const size_t numel = linear_scratch(I, O, n_threads);
    return (ops_scratch){ test_calloc(numel, sizeof(real)), numel, n_threads };
}

static double expected_y(const double *x, const double *w, const double *b, size_t n,
                         size_t o, size_t I)
{
    double sum = b != NULL ? b[o] : 0;
    for (size_t i = 0; i < I; i++) sum += x[n * I + i] * w[o * I + i];
    return sum;
}

static void linear_forward_equals_a_triple_loop(void **state)
{
    (void)state;
    for (size_t k = 0; k < COUNT(sizes); k++)
        for (int bias = 0; bias < 2; bias++) {
            const size_t N = sizes[k][0], I = sizes[k][1], O = sizes[k][2];
            double *x = array(N * I, 1), *w = array(O * I, 2), *b = array(O, 3);
            double *y = array(N * O, 4);
            ops_scratch scratch = scratch_for(I, O, 2);
            linear_forward(y, x, (lvlm_stored){ w, LVLM_F64 }, bias ? b : NULL, N, I, O,
                           &scratch);
            for (size_t n = 0; n < N; n++)
                for (size_t o = 0; o < O; o++)
                    ASSERT_CLOSE(y[n * O + o],
                                 expected_y(x, w, bias ? b : NULL, n, o, I),
                                 1e-13 /* observed 3e-14 */);
            test_free(x), test_free(w), test_free(b), test_free(y);
            test_free(scratch.data);
        }
}

/* The same bits as if w had been widened before and split into the same panels. */
static void linear_widens_stored_weights_exactly(void **state)
{
    static const lvlm_dtype dtypes[] = { LVLM_BF16, LVLM_F16, LVLM_F32 };
    (void)state;
    for (size_t k = 0; k < COUNT(sizes); k++)
        for (size_t d = 0; d < COUNT(dtypes); d++) {
            const size_t N = sizes[k][0], I = sizes[k][1], O = sizes[k][2];
            double *x = array(N * I, 1), *w = array(O * I, 2), *y = array(N * O, 3);
            double *dx = array(N * I, 4), *dx_wide = array(N * I, 4);
            void *stored = test_calloc(O * I, 4);
            ops_scratch scratch = scratch_for(I, O, 2);
            lvlm_convert_values(stored, dtypes[d], w, LVLM_F64, O * I);
            lvlm_convert_values(w, LVLM_F64, stored, dtypes[d], O * I);
            const lvlm_stored narrow = { stored, dtypes[d] }, wide = { w, LVLM_F64 };
            linear_forward(y, x, narrow, NULL, N, I, O, &scratch);
            for (size_t n = 0; n < N; n++)
                for (size_t o = 0; o < O; o++)
                    ASSERT_CLOSE(y[n * O + o], expected_y(x, w, NULL, n, o, I),
                                 1e-13 /* observed 4e-14 */);
            linear_backward(dx, NULL, NULL, y, NULL, narrow, N, I, O, &scratch);
            linear_backward(dx_wide, NULL, NULL, y, NULL, wide, N, I, O, &scratch);
            for (size_t i = 0; i < N * I; i++)
                ASSERT_CLOSE(dx[i], dx_wide[i], 1e-12 /* observed 2e-13 */);
            test_free(x), test_free(w), test_free(y), test_free(dx), test_free(dx_wide);
            test_free(stored), test_free(scratch.data);
        }
}

/* A row's bits do not depend on the rows beside it, up to LINEAR_ALIKE of them. */
static void few_rows_are_as_one(void **state)
{
    static const lvlm_dtype dtypes[] = { LVLM_BF16, LVLM_F16, LVLM_F32, LVLM_F64 };
    (void)state;
    for (size_t k = 0; k < COUNT(sizes); k++)
        for (size_t d = 0; d < COUNT(dtypes); d++) {
            const size_t N = LINEAR_ALIKE, I = sizes[k][1], O = sizes[k][2];
            double *x = array(N * I, 1), *w = array(O * I, 2), *b = array(O, 3);
            double *y = test_calloc(N * O, 8), *one = test_calloc(O, 8);
            void *stored = test_calloc(O * I, 8);
            ops_scratch scratch = scratch_for(I, O, 2);
            lvlm_convert_values(stored, dtypes[d], w, LVLM_F64, O * I);
            const lvlm_stored narrow = { stored, dtypes[d] };
            for (size_t rows = 1; rows <= N; rows++) {
                const double *const bias = rows % 2 == 0 ? b : NULL;
                linear_forward(y, x, narrow, bias, rows, I, O, &scratch);
                for (size_t n = 0; n < rows; n++) {
                    linear_forward(one, x + n * I, narrow, bias, 1, I, O, &scratch);
                    assert_memory_equal(y + n * O, one, O * sizeof *one);
                }
            }
            test_free(x), test_free(w), test_free(b), test_free(y), test_free(one);
            test_free(stored), test_free(scratch.data);
        }
}

/* Every bit pattern of the 16-bit types, NaN and subnormals included. */
static void stored_widen_agrees_with_numeric(void **state)
{
    uint16_t *all = test_calloc(65536, sizeof *all);
    double *got = test_calloc(65536, sizeof *got);
    (void)state;
    for (size_t i = 0; i < 65536; i++) all[i] = (uint16_t)i;
    for (int f16 = 0; f16 < 2; f16++) {
        stored_widen(got, (lvlm_stored){ all, f16 ? LVLM_F16 : LVLM_BF16 }, 0, 65536);
        for (size_t i = 0; i < 65536; i++) {
            const float value =
                f16 ? lvlm_f32_of_f16(all[i]) : lvlm_f32_of_bf16(all[i]);
            if (isnan(value))
                assert_true(isnan(got[i]));
            else
                assert_true(got[i] == (double)value &&
                            !signbit(got[i]) == !signbit(value));
        }
    }
    test_free(all), test_free(got);
}

static void stored_widen_starts_at_first(void **state)
{
    const float f32[] = { 1, 2, 3, 4 };
    const double f64[] = { 5, 6, 7, 8 };
    double got[2];
    (void)state;
    stored_widen(got, (lvlm_stored){ f32, LVLM_F32 }, 2, 2);
    assert_true(got[0] == 3 && got[1] == 4);
    stored_widen(got, stored_at((lvlm_stored){ f64, LVLM_F64 }, 1), 1, 2);
    assert_true(got[0] == 7 && got[1] == 8);
    assert_null(stored_at((lvlm_stored){ NULL, LVLM_F32 }, 3).data);
}

typedef struct linear_case {
    double *x, *w, *b, *y, *dy;
    size_t N, I, O;
    ops_scratch scratch;
} linear_case;

static double linear_loss(void *context)
{
    const linear_case *c = context;
    linear_forward(c->y, c->x, (lvlm_stored){ c->w, LVLM_F64 }, c->b, c->N, c->I, c->O,
                   &c->scratch);
    return gradcheck_dot(c->y, c->dy, c->N * c->O);
}

static void linear_gradients_are_slopes(void **state)
{
    (void)state;
    for (size_t k = 0; k < 6; k++) {
        const size_t N = sizes[k][0], I = sizes[k][1], O = sizes[k][2];
        linear_case c = { array(N * I, 1),
                          array(O * I, 2),
                          array(O, 3),
                          array(N * O, 4),
                          array(N * O, 5),
                          N,
                          I,
                          O,
                          scratch_for(I, O, 2) };
        double *dx = test_calloc(N * I, 8), *dw = test_calloc(O * I, 8);
        double *db = test_calloc(O, 8);
        linear_backward(dx, dw, db, c.dy, c.x, (lvlm_stored){ c.w, LVLM_F64 }, N, I, O,
                        &c.scratch);
        ASSERT_BELOW(gradcheck(linear_loss, &c, c.x, dx, N * I),
                     1e-7 /* observed 7.3e-13 */);
        ASSERT_BELOW(gradcheck(linear_loss, &c, c.w, dw, O * I),
                     1e-7 /* observed 6.0e-12 */);
        ASSERT_BELOW(gradcheck(linear_loss, &c, c.b, db, O),
                     1e-7 /* observed 8.5e-12 */);
        test_free(c.x), test_free(c.w), test_free(c.b), test_free(c.y), test_free(c.dy);
        test_free(dx), test_free(dw), test_free(db), test_free(c.scratch.data);
    }
}

static void linear_backward_accumulates(void **state)
{
    const size_t N = 5, I = 6, O = 7;
    double *x = array(N * I, 1), *w = array(O * I, 2), *dy = array(N * O, 3);
    double *once = test_calloc(O * I, 8), *twice = test_calloc(O * I, 8);
    ops_scratch scratch = scratch_for(I, O, 1);
    const lvlm_stored stored = { w, LVLM_F64 };
    (void)state;
    linear_backward(NULL, once, NULL, dy, x, stored, N, I, O, &scratch);
    linear_backward(NULL, twice, NULL, dy, x, stored, N, I, O, &scratch);
    linear_backward(NULL, twice, NULL, dy, x, stored, N, I, O, &scratch);
    for (size_t i = 0; i < O * I; i++) ASSERT_CLOSE(twice[i], 2 * once[i], 1e-15);
    test_free(x), test_free(w), test_free(dy), test_free(once), test_free(twice);
    test_free(scratch.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_forward_equals_a_triple_loop),
        cmocka_unit_test(linear_widens_stored_weights_exactly),
        cmocka_unit_test(few_rows_are_as_one),
        cmocka_unit_test(stored_widen_agrees_with_numeric),
        cmocka_unit_test(stored_widen_starts_at_first),
        cmocka_unit_test(linear_gradients_are_slopes),
        cmocka_unit_test(linear_backward_accumulates),
    };
    ops_threads(2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
