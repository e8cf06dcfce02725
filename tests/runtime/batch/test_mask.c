/* test_mask.c - visible ranges compared with the definition of the mask. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/batch/mask.h"

enum { ROWS = 12 };

static void mask_prefix_lm_prefix_sees_prefix_and_suffix_is_causal(void **state)
{
    (void)state;
    const int64_t types[5] = { 0, 0, 0, 1, 1 };
    const size_t want_hi[5] = { 3, 3, 3, 4, 5 };
    size_t lo[5], hi[5];
    lvlm_mask_prefix_lm(lo, hi, types, 0, 5);
    for (size_t n = 0; n < 5; n++) {
        assert_int_equal(lo[n], 0);
        assert_int_equal(hi[n], want_hi[n]);
    }
}

/* allowed(q,k) = cum(k) <= cum(q), for every pattern of types, in a text that starts
 * after others. */
static void mask_prefix_lm_equals_its_definition_for_all_types(void **state)
{
    (void)state;
    enum { FIRST = 4, END = ROWS };
    for (unsigned pattern = 0; pattern < 1u << (END - FIRST); pattern++) {
        int64_t types[ROWS] = { 0 }, cum[ROWS] = { 0 };
        size_t lo[ROWS], hi[ROWS];
        for (size_t n = FIRST; n < END; n++) {
            types[n] = pattern >> (n - FIRST) & 1;
            cum[n] = (n > FIRST ? cum[n - 1] : 0) + types[n];
        }
        lvlm_mask_prefix_lm(lo, hi, types, FIRST, END);
        for (size_t q = FIRST; q < END; q++)
            for (size_t k = FIRST; k < END; k++)
                assert_int_equal(lo[q] <= k && k < hi[q], cum[k] <= cum[q]);
    }
}

static void mask_window_narrows_the_suffix_only(void **state)
{
    (void)state;
    const int64_t types[7] = { 0, 0, 0, 0, 1, 1, 1 };
    const size_t cell[7] = { 20, 21, 22, 23, 24, 25, 26 };
    const size_t want[7] = { 0, 0, 0, 0, 2, 3, 4 }; /* q - 3 < k */
    size_t lo[7] = { 0 };
    lvlm_mask_window(lo, types, cell, 3, 0, 7);
    for (size_t n = 0; n < 7; n++) assert_int_equal(lo[n], want[n]);
}

/* Without types the prefix slides too, as early versions of the reference did. */
static void mask_window_without_types_narrows_every_row(void **state)
{
    const size_t cell[] = { 0, 1, 2, 3, 4 };
    size_t lo[] = { 0, 0, 0, 0, 0 };
    const size_t expected[] = { 0, 0, 1, 2, 3 };
    (void)state;
    lvlm_mask_window(lo, NULL, cell, 2, 0, 5);
    assert_memory_equal(lo, expected, sizeof expected);
}

static void mask_window_counts_columns_of_padding(void **state)
{
    (void)state;
    const int64_t types[4] = { 0, 0, 1, 1 };
    const size_t cell[4] = { 0, 1, 5, 6 }; /* three columns of padding between */
    const size_t want[4] = { 0, 0, 2, 2 };
    size_t lo[4] = { 0 };
    lvlm_mask_window(lo, types, cell, 4, 0, 4);
    for (size_t n = 0; n < 4; n++) assert_int_equal(lo[n], want[n]);
}

static void mask_window_wider_than_the_text_changes_nothing(void **state)
{
    (void)state;
    const int64_t types[3] = { 0, 1, 1 };
    const size_t cell[3] = { 0, 1, 2 };
    size_t lo[3] = { 0 };
    lvlm_mask_window(lo, types, cell, 4096, 0, 3);
    for (size_t n = 0; n < 3; n++) assert_int_equal(lo[n], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mask_prefix_lm_prefix_sees_prefix_and_suffix_is_causal),
        cmocka_unit_test(mask_prefix_lm_equals_its_definition_for_all_types),
        cmocka_unit_test(mask_window_narrows_the_suffix_only),
        cmocka_unit_test(mask_window_without_types_narrows_every_row),
        cmocka_unit_test(mask_window_counts_columns_of_padding),
        cmocka_unit_test(mask_window_wider_than_the_text_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
