/* test_stage_error.c - errors by rows: their formula, rows of very different lengths,
 * and rows that are left out. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "verify/replay/stage_error.h"

static lvlm_tensor tensor(lvlm_dtype dtype, lvlm_shape shape, const void *data)
{
    lvlm_tensor t = { .name = "text.norm", .dtype = dtype, .shape = shape };
    t.data = data;
    (void)lvlm_shape_bytes(&t.n_bytes, &shape, dtype);
    return t;
}

static const lvlm_rows every_row;

static lvlm_stage_error compare(const double *a, const double *b, lvlm_shape shape,
                                const lvlm_rows *rows, bool logits)
{
    const lvlm_tensor got = tensor(LVLM_F64, shape, a),
                      want = tensor(LVLM_F64, shape, b);
    lvlm_stage_error e;
    assert_int_equal(lvlm_stage_compare(&e, &got, &want, rows, logits, NULL), 0);
    return e;
}

static void errors_are_the_mean_square_over_rows(void **state)
{
    const double b[] = { 3, 4, 0, 5, 5, 0 }, a[] = { 3, 4.5, 0, 5, 5.25, 0 };
    const lvlm_stage_error e =
        compare(a, b, (lvlm_shape){ 2, { 3, 2 } }, &every_row, false);
    (void)state;
    assert_true(fabs(e.error - sqrt((0.01 + 0 + 0.0025) / 3)) < 1e-15);
    assert_int_equal(e.n_rows, 3);
    assert_int_equal(e.n_worst, 3);
    assert_int_equal(e.worst[0].place, 0);
    assert_true(fabs(e.worst[0].error - 0.1) < 1e-15);
    assert_int_equal(e.worst[1].place, 2);
    assert_int_equal(e.worst[0].token, -1);
}

/* A loss near 0 is what the rounding of logits leaves: no smaller than theirs. */
static void a_loss_is_a_difference(void **state)
{
    const double b[] = { 1e-4 }, a[] = { 1e-4 + 1e-15 };
    const lvlm_shape scalar = { 0, { 0 } };
    (void)state;
    const lvlm_rows loss = lvlm_rows_of("loss", &scalar, NULL, NULL, NULL);
    const lvlm_rows other = lvlm_rows_of("other", &scalar, NULL, NULL, NULL);
    assert_true(compare(a, b, scalar, &loss, false).error < 2e-15);
    assert_true(compare(a, b, scalar, &other, false).error > 5e-12);
    const double large[] = { 4 }, off[] = { 4.4 };
    assert_true(fabs(compare(off, large, scalar, &loss, false).error - 0.1) < 1e-15);
}

/* As in a trained language model: all together the values agree to 1e-6. */
static void a_long_row_hides_nothing(void **state)
{
    const double b[] = { 1e4, 1e4, 1, 1, 1, 1, 1, 1 };
    const double a[] = { 1e4, 1e4, 1, 1.01, 1, 1, 1, 1 };
    const lvlm_stage_error e =
        compare(a, b, (lvlm_shape){ 3, { 1, 4, 2 } }, &every_row, false);
    (void)state;
    assert_true(lvlm_relative_l2(&e.distance) < 1e-6);
    assert_true(e.error > 3e-3);
    assert_int_equal(e.worst[0].place, 1);
}

/* The error of a zero row is relative to the others; if all are zero, only zeros
 * agree. */
static void rows_of_zeros_are_compared(void **state)
{
    const double b[] = { 0, 0, 3, 4, 3, 4 }, a[] = { 0, 1e-9, 3, 4, 3, 4 };
    const double zeros[6] = { 0 };
    const lvlm_shape shape = { 2, { 3, 2 } };
    (void)state;
    assert_true(fabs(compare(a, b, shape, &every_row, false).error -
                     1e-9 / 5e-3 / sqrt(3)) < 1e-15);
    assert_true(compare(zeros, zeros, shape, &every_row, false).error == 0);
    assert_true(isinf(compare(a, zeros, shape, &every_row, false).error));
}

static void values_that_are_not_finite_never_agree(void **state)
{
    const double b[] = { 1, 1 }, a[] = { 1, NAN };
    (void)state;
    assert_true(
        isinf(compare(a, b, (lvlm_shape){ 2, { 1, 2 } }, &every_row, false).error));
    assert_true(
        isinf(compare(a, b, (lvlm_shape){ 0, { 0 } }, &every_row, false).error) ==
        false);
}

static void padding_is_left_out_and_rows_have_tokens(void **state)
{
    const int64_t id_values[] = { 7, 8, 9, 10 }, mask_values[] = { 1, 0, 1, 1 };
    const lvlm_shape texts = { 2, { 2, 2 } }, shape = { 3, { 2, 2, 1 } };
    const lvlm_tensor ids = tensor(LVLM_I64, texts, id_values),
                      mask = tensor(LVLM_I64, texts, mask_values);
    const double b[] = { 1, 1, 1, 1 }, a[] = { 1, 5, 1.5, 1 };
    (void)state;
    const lvlm_rows rows = lvlm_rows_of("logits", &shape, &ids, &mask, NULL);
    const lvlm_stage_error e = compare(a, b, shape, &rows, true);
    assert_int_equal(e.n_rows, 3);
    assert_true(fabs(e.error - sqrt(0.25 / 3)) < 1e-15);
    assert_int_equal(e.worst[0].place, 2);
    assert_int_equal(e.worst[0].token, 9);
    assert_int_equal(e.n_top1, 3);
    const int64_t nothing[] = { 0, 0, 0, 0 };
    const lvlm_tensor no_mask = tensor(LVLM_I64, texts, nothing);
    const lvlm_rows none = lvlm_rows_of("logits", &shape, &ids, &no_mask, NULL);
    assert_true(isinf(compare(b, b, shape, &none, false).error));
    const lvlm_rows vision = lvlm_rows_of("vision.out", &shape, &ids, &mask, NULL);
    assert_int_equal(compare(a, b, shape, &vision, false).n_rows, 4);
}

/* The reference has rows 3 and 0 of a stage of four. */
static void kept_rows_are_compared_with_theirs(void **state)
{
    const int64_t id_values[] = { 7, 8, 9, 10 }, kept_values[] = { 3, 0 };
    const lvlm_shape full = { 3, { 2, 2, 1 } }, some = { 2, { 2, 1 } };
    const lvlm_tensor ids = tensor(LVLM_I64, (lvlm_shape){ 2, { 2, 2 } }, id_values);
    const lvlm_tensor kept = tensor(LVLM_I64, (lvlm_shape){ 1, { 2 } }, kept_values);
    const double a[] = { 1, 2, 3, 4 }, b[] = { 4, 2 };
    const lvlm_tensor got = tensor(LVLM_F64, full, a), want = tensor(LVLM_F64, some, b);
    const lvlm_shape short_one = { 3, { 1, 2, 1 } };
    lvlm_stage_error e;
    (void)state;
    const lvlm_rows rows = lvlm_rows_of("text.norm", &some, &ids, NULL, &kept);
    assert_true(lvlm_stages_fit(&full, &some, &rows));
    assert_false(lvlm_stages_fit(&short_one, &some, &rows));
    assert_false(lvlm_stages_fit(&full, &some, &every_row));
    assert_int_equal(lvlm_stage_compare(&e, &got, &want, &rows, false, NULL), 0);
    assert_true(fabs(e.error - sqrt(0.25 / 2)) < 1e-15);
    assert_int_equal(e.worst[0].place, 0);
    assert_int_equal(e.worst[0].token, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_the_mean_square_over_rows),
        cmocka_unit_test(a_long_row_hides_nothing),
        cmocka_unit_test(a_loss_is_a_difference),
        cmocka_unit_test(rows_of_zeros_are_compared),
        cmocka_unit_test(values_that_are_not_finite_never_agree),
        cmocka_unit_test(padding_is_left_out_and_rows_have_tokens),
        cmocka_unit_test(kept_rows_are_compared_with_theirs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
