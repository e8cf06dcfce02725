/* test_dropout.c - rows under dropout: how many elements, which, and what remains. */
#include "runtime/ops/dropout.h"
#include "tests/runtime/ops/ops_test.h"

enum { ROWS = 300, C = 70, ALL = ROWS * C };

static uint64_t numbers[ROWS];

static void fill(double *x)
{
    for (size_t i = 0; i < ALL; i++) x[i] = 1;
    for (size_t n = 0; n < ROWS; n++) numbers[n] = 3 * n;
}

static void elements_are_dropped_at_the_rate(void **state)
{
    static double x[ALL];
    (void)state;
    for (int tenths = 1; tenths < 10; tenths += 4) {
        const double rate = tenths / 10.0;
        size_t n_zero = 0;
        fill(x);
        dropout_rows(x, &(dropout){ rate, 1, numbers }, NULL, ROWS, C);
        for (size_t i = 0; i < ALL; i++) {
            n_zero += x[i] == 0;
            if (x[i] != 0) ASSERT_CLOSE(x[i], 1 / (1 - rate), 1e-15);
        }
        /* four standard deviations of a fair draw */
        ASSERT_BELOW(fabs((double)n_zero / ALL - rate),
                     4 * sqrt(rate * (1 - rate) / ALL));
    }
}

/* Two draws at a rate of a half agree on half of the elements. */
static double share_of_equal(const double *x, const double *y, size_t n)
{
    size_t n_same = 0;
    for (size_t i = 0; i < n; i++) n_same += (x[i] == 0) == (y[i] == 0);
    return (double)n_same / (double)n;
}

static void places_rows_and_heads_draw_their_own(void **state)
{
    static double x[ALL], y[ALL];
    const double spread = 4 * sqrt(0.25 / (ALL - C));
    const dropout d = { 0.5, 1, numbers }, other = { 0.5, 2, numbers };
    (void)state;
    fill(x);
    fill(y);
    dropout_rows(x, &d, NULL, ROWS, C);
    dropout_rows(y, &d, NULL, ROWS, C);
    ASSERT_BYTES_EQUAL(x, y, ALL);
    fill(y);
    dropout_rows(y, &other, NULL, ROWS, C);
    ASSERT_BELOW(fabs(share_of_equal(x, y, ALL) - 0.5), spread);
    ASSERT_BELOW(fabs(share_of_equal(x, x + C, ALL - C) - 0.5), spread);
    assert_true(dropout_stream(&d, 0, 0) != dropout_stream(&d, 0, 1));
}

/* Rows that are chosen keep their numbers, and a stream can be begun anywhere. */
static void a_row_loses_the_same_elsewhere(void **state)
{
    static double x[ALL], y[ALL];
    const size_t at[3] = { 4, 5, 200 };
    const dropout d = { 0.3, 1, numbers };
    (void)state;
    fill(x);
    fill(y);
    dropout_rows(x, &d, NULL, ROWS, C);
    dropout_rows(y, &d, at, 3, C);
    for (size_t m = 0; m < 3; m++) ASSERT_BYTES_EQUAL(y + m * C, x + at[m] * C, C);
    fill(y);
    dropout_values(y, y, 0.3, dropout_stream(&d, 7, 0), 5, C - 5, false);
    ASSERT_BYTES_EQUAL(y, x + 7 * C + 5, C - 5);
}

static void a_rate_of_0_changes_nothing(void **state)
{
    static double x[ALL], y[ALL];
    const dropout off = { 0 };
    (void)state;
    fill(x);
    fill(y);
    dropout_rows(x, &off, NULL, ROWS, C);
    ASSERT_BYTES_EQUAL(x, y, ALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_are_dropped_at_the_rate),
        cmocka_unit_test(places_rows_and_heads_draw_their_own),
        cmocka_unit_test(a_row_loses_the_same_elsewhere),
        cmocka_unit_test(a_rate_of_0_changes_nothing),
    };
    ops_threads(2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
