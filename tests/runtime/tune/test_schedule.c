/* test_schedule.c - learning rates are those of the reference's schedulers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/tune/schedule.h"

static void check_least(lvlm_schedule_kind kind, double least, size_t warmup,
                        size_t step, double expected)
{
    const lvlm_schedule s = { kind, warmup, 10, least };
    const double got = lvlm_schedule_factor(&s, step);
    if (!(fabs(got - expected) <= 1e-15)) /* observed 0 */
        fail_msg("%s, step %zu: %.17g, expected %.17g", lvlm_schedule_name(kind), step,
                 got, expected);
}

static void check(lvlm_schedule_kind kind, size_t warmup, size_t step, double expected)
{
    check_least(kind, 0, warmup, step, expected);
}

static void rates_rise_and_fall(void **state)
{
    (void)state;
    check(LVLM_SCHEDULE_CONSTANT, 4, 0, 0);
    check(LVLM_SCHEDULE_CONSTANT, 4, 1, 0.25);
    check(LVLM_SCHEDULE_CONSTANT, 4, 4, 1);
    check(LVLM_SCHEDULE_CONSTANT, 0, 0, 1);
    check(LVLM_SCHEDULE_CONSTANT, 4, 999, 1);
    check(LVLM_SCHEDULE_LINEAR, 2, 1, 0.5);
    check(LVLM_SCHEDULE_LINEAR, 2, 2, 1);
    check(LVLM_SCHEDULE_LINEAR, 2, 4, 0.75);
    check(LVLM_SCHEDULE_LINEAR, 2, 9, 0.125);
    check(LVLM_SCHEDULE_LINEAR, 2, 10, 0);
    check(LVLM_SCHEDULE_LINEAR, 2, 11, 0);
    check(LVLM_SCHEDULE_LINEAR, 10, 10, 0);
    check(LVLM_SCHEDULE_COSINE, 2, 1, 0.5);
    check(LVLM_SCHEDULE_COSINE, 2, 2, 1);
    check(LVLM_SCHEDULE_COSINE, 2, 4, 0.5 * (1 + sqrt(0.5)));
    check(LVLM_SCHEDULE_COSINE, 2, 6, 0.5);
    check(LVLM_SCHEDULE_COSINE, 2, 10, 0);
}

/* As transformers' get_cosine_with_min_lr_schedule_with_warmup, and the same line. */
static void rates_fall_to_the_minimum(void **state)
{
    (void)state;
    check_least(LVLM_SCHEDULE_CONSTANT, 0.25, 4, 999, 1);
    check_least(LVLM_SCHEDULE_LINEAR, 0.25, 2, 0, 0);
    check_least(LVLM_SCHEDULE_LINEAR, 0.25, 2, 1, 0.5);
    check_least(LVLM_SCHEDULE_LINEAR, 0.25, 2, 2, 1);
    check_least(LVLM_SCHEDULE_LINEAR, 0.25, 2, 6, 0.625);
    check_least(LVLM_SCHEDULE_LINEAR, 0.25, 2, 10, 0.25);
    check_least(LVLM_SCHEDULE_LINEAR, 0.25, 2, 11, 0.25);
    check_least(LVLM_SCHEDULE_COSINE, 0.25, 2, 1, 0.5);
    check_least(LVLM_SCHEDULE_COSINE, 0.25, 2, 6, 0.625);
    check_least(LVLM_SCHEDULE_COSINE, 0.25, 2, 10, 0.25);
}

static void schedules_have_names(void **state)
{
    lvlm_schedule_kind kind;
    (void)state;
    assert_int_equal(lvlm_schedule_parse(&kind, "cosine", NULL), 0);
    assert_int_equal(kind, LVLM_SCHEDULE_COSINE);
    assert_int_equal(lvlm_schedule_parse(&kind, NULL, NULL), 0);
    assert_int_equal(kind, LVLM_SCHEDULE_LINEAR);
    assert_int_equal(lvlm_schedule_parse(&kind, "steps", NULL), LVLM_EUSAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_rise_and_fall),
        cmocka_unit_test(rates_fall_to_the_minimum),
        cmocka_unit_test(schedules_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
