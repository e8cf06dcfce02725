/* test_packing.c - which cells become rows, and each row's input, visible range and
 * target. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/batch/packing.h"

#define IMAGE 9
#define IGN LVLM_IGNORE_LABEL

static const lvlm_packing_options options = { .axes = 1,
                                              .first_position = 1,
                                              .window = 0 };

/* Left padding with an image token in it, right padding, a hole, an empty text. */
static int64_t ids[20] = {
    IMAGE, IMAGE, IMAGE, 4, 5, //
    IMAGE, 6,     7,     0, 0, //
    IMAGE, 8,     0,     2, 3, //
    0,     0,     0,     0, 0,
};
static int64_t real[20] = {
    0, 1, 1, 1, 1, //
    1, 1, 1, 0, 0, //
    1, 1, 0, 1, 1, //
    0, 0, 0, 0, 0,
};
static int64_t types[20] = {
    0, 0, 0, 0, 1, //
    0, 0, 1, 1, 1, //
    0, 0, 1, 1, 1, //
    0, 0, 0, 0, 0,
};
static int64_t labels[20] = {
    IGN, IGN, IGN, IGN, 5,   //
    IGN, IGN, 7,   IGN, IGN, //
    IGN, IGN, IGN, IGN, 3,   //
    IGN, IGN, IGN, IGN, IGN,
};
/* The result of splice.h: image tokens receive rows in order, also those in padding. */
static int64_t image_row[20] = {
    0,  1,  2,  -1, -1, //
    3,  -1, -1, -1, -1, //
    4,  -1, -1, -1, -1, //
    -1, -1, -1, -1, -1,
};
static const lvlm_inputs batch = { .B = 4,
                                   .T = 5,
                                   .ids = ids,
                                   .real = real,
                                   .types = types,
                                   .labels = labels,
                                   .image_row = image_row };

static void packing_keeps_real_tokens_in_order(void **state)
{
    (void)state;
    static const size_t cells[11] = { 1, 2, 3, 4, 5, 6, 7, 10, 11, 13, 14 };
    lvlm_packing p;
    assert_int_equal(lvlm_packing_make(&p, &batch, &options, NULL), 0);
    assert_int_equal(p.N, 11);
    assert_memory_equal(p.cell, cells, sizeof cells);
    lvlm_packing_free(&p);
}

static void packing_positions_are_columns_whatever_the_padding(void **state)
{
    (void)state;
    static const int64_t want[11] = { 2, 3, 4, 5, 1, 2, 3, 1, 2, 4, 5 };
    lvlm_packing p;
    assert_int_equal(lvlm_packing_make(&p, &batch, &options, NULL), 0);
    assert_memory_equal(p.positions, want, sizeof want);
    lvlm_packing_free(&p);
}

static void packing_keeps_the_image_rows_of_real_tokens(void **state)
{
    (void)state;
    static const int64_t rows[11] = { 1, 2, -1, -1, 3, -1, -1, 4, -1, -1, -1 };
    static const int64_t looked_up[11] = { -1, -1, 4, 5, -1, 6, 7, -1, 8, 2, 3 };
    lvlm_packing p;
    assert_int_equal(lvlm_packing_make(&p, &batch, &options, NULL), 0);
    assert_memory_equal(p.image_row, rows, sizeof rows);
    assert_memory_equal(p.ids, looked_up, sizeof looked_up);
    lvlm_packing_free(&p);
}

/* The third text has types 0 0 (padding) 1 1. */
static void packing_makes_only_rows_of_the_same_text_visible(void **state)
{
    (void)state;
    static const size_t lo[11] = { 0, 0, 0, 0, 4, 4, 4, 7, 7, 7, 7 };
    static const size_t hi[11] = { 3, 3, 3, 4, 6, 6, 7, 9, 9, 10, 11 };
    lvlm_packing p;
    assert_int_equal(lvlm_packing_make(&p, &batch, &options, NULL), 0);
    assert_memory_equal(p.lo, lo, sizeof lo);
    assert_memory_equal(p.hi, hi, sizeof hi);
    assert_null(p.window_lo);
    lvlm_packing_free(&p);
}

static void packing_causal_rows_attend_to_those_before_them(void **state)
{
    (void)state;
    static const size_t hi[11] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 };
    static const int64_t columns[11] = { 1, 2, 3, 4, 0, 1, 2, 0, 1, 3, 4 };
    const lvlm_packing_options causal = { .axes = 3, .causal = true };
    lvlm_packing p;
    assert_int_equal(lvlm_packing_make(&p, &batch, &causal, NULL), 0);
    assert_memory_equal(p.hi, hi, sizeof hi);
    for (size_t axis = 0; axis < 3; axis++)
        assert_memory_equal(p.positions + axis * p.N, columns, sizeof columns);
    lvlm_packing_free(&p);
}

static void packing_windows_do_not_change_the_full_ranges(void **state)
{
    (void)state;
    static const size_t lo[11] = { 0, 0, 0, 0, 4, 4, 4, 7, 7, 7, 7 };
    static const size_t narrow[11] = { 0, 0, 0, 2, 4, 4, 5, 7, 7, 9, 9 };
    const lvlm_packing_options windowed = { .axes = 1,
                                            .first_position = 1,
                                            .window = 2 };
    lvlm_packing p;
    assert_int_equal(lvlm_packing_make(&p, &batch, &windowed, NULL), 0);
    assert_memory_equal(p.lo, lo, sizeof lo);
    assert_memory_equal(p.window_lo, narrow, sizeof narrow);
    lvlm_packing_free(&p);
}

static void packing_targets_are_the_labels_shifted_by_one(void **state)
{
    (void)state;
    static const int64_t want[11] = { IGN, IGN, 5, IGN, IGN, 7, IGN, IGN, IGN, 3, IGN };
    lvlm_packing p;
    assert_int_equal(lvlm_packing_make(&p, &batch, &options, NULL), 0);
    assert_memory_equal(p.targets, want, sizeof want);
    static const size_t predicting[3] = { 2, 5, 9 };
    assert_int_equal(p.n_targets, 3);
    assert_memory_equal(p.predicting, predicting, sizeof predicting);
    lvlm_packing_free(&p);
}

static void packing_without_labels_has_no_targets(void **state)
{
    (void)state;
    lvlm_inputs unlabelled = batch;
    unlabelled.labels = NULL;
    lvlm_packing p;
    assert_int_equal(lvlm_packing_make(&p, &unlabelled, &options, NULL), 0);
    assert_null(p.targets);
    assert_null(p.predicting);
    lvlm_packing_free(&p);
}

/* ---- versions of the reference -------------------------------------------------- */

/* One text of types 0 0 1 1 after one cell of padding: the range that is visible to
 * each row ends at `want`. */
static void expect_ends(const lvlm_prefix_rules *rules, bool has_types, bool has_labels,
                        const size_t *want, size_t n)
{
    const lvlm_packing_options options_of = { .axes = 1,
                                              .first_position = 1,
                                              .prefix = *rules };
    lvlm_inputs in = batch;
    in.B = 1;
    in.has_types = has_types;
    in.has_labels = has_labels;
    in.ids = ids;
    in.types = (int64_t[]){ 0, 0, 0, 1, 1 };
    lvlm_packing p;
    assert_int_equal(lvlm_packing_make(&p, &in, &options_of, NULL), 0);
    assert_int_equal(p.N, n);
    assert_memory_equal(p.hi, want, n * sizeof *want);
    lvlm_packing_free(&p);
}

static void packing_without_labels_is_all_prefix_where_a_version_says_so(void **state)
{
    static const size_t all[] = { 4, 4, 4, 4 }, trained[] = { 2, 2, 3, 4 };
    const lvlm_prefix_rules rules = { .unlabelled_is_prefix = true };
    (void)state;
    expect_ends(&rules, true, false, all, 4);
    expect_ends(&rules, true, true, trained, 4);
    expect_ends(&(lvlm_prefix_rules){ 0 }, true, false, trained, 4);
}

static void packing_without_types_is_causal_where_a_version_says_so(void **state)
{
    static const size_t causal[] = { 1, 2, 3, 4 }, trained[] = { 2, 2, 3, 4 };
    const lvlm_prefix_rules rules = { .untyped_is_suffix = true };
    (void)state;
    expect_ends(&rules, false, true, causal, 4);
    expect_ends(&rules, true, true, trained, 4);
}

static void packing_creates_rows_of_padding_where_a_version_attends_to_it(void **state)
{
    static const size_t seen[] = { 3, 3, 3, 4, 5 }, trained[] = { 2, 2, 3, 4 };
    const lvlm_prefix_rules rules = { .padding_is_prefix = true };
    (void)state;
    expect_ends(&rules, true, true, seen, 5);
    expect_ends(&rules, true, false, trained, 4);
    expect_ends(&rules, false, true, trained, 4);
}

static void packing_refuses_visible_padding_after_a_suffix(void **state)
{
    const lvlm_packing_options seen = { .axes = 1,
                                        .first_position = 1,
                                        .prefix = { .padding_is_prefix = true } };
    lvlm_inputs in = batch;
    lvlm_error err = { .text = "" };
    lvlm_packing p;
    (void)state;
    in.B = 1;
    in.has_types = in.has_labels = true;
    in.types = (int64_t[]){ 0, 0, 1, 1, 0 };
    in.real = (int64_t[]){ 1, 1, 1, 1, 0 };
    assert_int_equal(lvlm_packing_make(&p, &in, &seen, &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "attention_mask[0, 4]: padding after a text"));
    lvlm_packing_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packing_keeps_real_tokens_in_order),
        cmocka_unit_test(packing_positions_are_columns_whatever_the_padding),
        cmocka_unit_test(packing_keeps_the_image_rows_of_real_tokens),
        cmocka_unit_test(packing_makes_only_rows_of_the_same_text_visible),
        cmocka_unit_test(packing_causal_rows_attend_to_those_before_them),
        cmocka_unit_test(packing_windows_do_not_change_the_full_ranges),
        cmocka_unit_test(packing_targets_are_the_labels_shifted_by_one),
        cmocka_unit_test(packing_without_labels_has_no_targets),
        cmocka_unit_test(packing_without_labels_is_all_prefix_where_a_version_says_so),
        cmocka_unit_test(packing_without_types_is_causal_where_a_version_says_so),
        cmocka_unit_test(packing_creates_rows_of_padding_where_a_version_attends_to_it),
        cmocka_unit_test(packing_refuses_visible_padding_after_a_suffix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
