/* test_rounding.c - how far a recording may be from double by rounding, for each kind
 * of stage and of recording. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "verify/replay/bands.h"
#include "verify/replay/replay_parts.h"

#define OWN 1e-7

static double explained(const lvlm_replay *r, bool is_gradient, uint64_t n)
{
    const lvlm_replay_stage stage = { .is_gradient = is_gradient,
                                      .shape = { 1, { n } },
                                      .own_error = OWN };
    return lvlm_rounding_explains(r, &stage);
}

static void expect_times(double got, double times)
{
    assert_true(fabs(got / (times * OWN) - 1) < 1e-12);
}

static void rounding_follows_the_unit(void **state)
{
    const lvlm_replay f32 = { .is_exact = false };
    const lvlm_replay exact = { .is_exact = true };
    const lvlm_replay bf16 = { .coarse = { .recording = "bf16" } };
    const lvlm_replay f16 = { .coarse = { .recording = "f16" } };
    const lvlm_replay model = { .is_exact = true, .coarse = { .model = "bf16" } };
    const lvlm_replay both = { .coarse = { .recording = "f16", .model = "bf16" } };
    (void)state;
    expect_times(explained(&f32, false, 8), LVLM_ROUNDING);
    expect_times(explained(&exact, false, 8), LVLM_ROUNDING_EXACT);
    expect_times(explained(&bf16, false, 8), LVLM_ROUNDING_COARSE * 65536);
    expect_times(explained(&f16, false, 8), LVLM_ROUNDING_COARSE * 8192);
    expect_times(explained(&model, false, 8), LVLM_ROUNDING_COARSE * 65536);
    expect_times(explained(&both, false, 8), LVLM_ROUNDING_COARSE * 65536);
}

/* Where we round nothing, half a unit is left. */
static void a_table_may_be_rounded(void **state)
{
    const lvlm_replay bf16 = { .coarse = { .recording = "bf16" } };
    const lvlm_replay_stage stage = { .shape = { 1, { 8 } } };
    (void)state;
    assert_true(lvlm_rounding_explains(&bf16, &stage) == 0x1p-8);
}

/* A gate's gradient is one sum of many terms: ours and theirs may both be right by
 * chance, and then the other is many times as far from double. */
static void a_single_number_has_more_room(void **state)
{
    const lvlm_replay f32 = { .is_exact = false };
    const lvlm_replay exact = { .is_exact = true };
    (void)state;
    expect_times(explained(&f32, true, 1), LVLM_ROUNDING * LVLM_ROUNDING_SINGLE);
    expect_times(explained(&exact, true, 1),
                 LVLM_ROUNDING_EXACT * LVLM_ROUNDING_SINGLE);
    expect_times(explained(&f32, true, 2), LVLM_ROUNDING);
    expect_times(explained(&f32, false, 1), LVLM_ROUNDING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_follows_the_unit),
        cmocka_unit_test(a_table_may_be_rounded),
        cmocka_unit_test(a_single_number_has_more_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
