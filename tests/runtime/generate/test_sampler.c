/* test_sampler.c - the choice of the next token: penalty, top-k, top-p, seeds. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/generate/sampler.h"

enum { DRAWS = 20000, MOST = 1000 };

static const lvlm_sampling greedy = { .top_p = 1, .penalty = 1 };

static lvlm_sampling drawing(uint64_t top_k, double top_p, uint64_t seed)
{
    return (lvlm_sampling){ 1, top_k, top_p, 1, seed };
}

static lvlm_tensor tensor_of(const float *logits, size_t n)
{
    return (lvlm_tensor){ .name = "logits",
                          .dtype = LVLM_F32,
                          .shape = { 1, { n } },
                          .data = (const unsigned char *)(const void *)logits,
                          .n_bytes = n * sizeof *logits };
}

static lvlm_sampler make(lvlm_sampling sampling, size_t n)
{
    lvlm_sampler s;
    assert_int_equal(lvlm_sampler_make(&s, &sampling, n, NULL), 0);
    return s;
}

static int64_t pick(lvlm_sampler *s, const float *logits)
{
    const lvlm_tensor t = tensor_of(logits, s->vocab);
    int64_t id = -1;
    assert_int_equal(lvlm_sampler_pick(s, &id, &t, NULL), 0);
    assert_in_range(id, 0, s->vocab - 1);
    return id;
}

/* How often each of n is drawn. */
static void count(size_t *counts, lvlm_sampling sampling, const float *logits, size_t n)
{
    lvlm_sampler s = make(sampling, n);
    memset(counts, 0, n * sizeof *counts);
    for (size_t i = 0; i < DRAWS; i++) counts[pick(&s, logits)]++;
    lvlm_sampler_free(&s);
}

static void greedy_takes_the_first_of_equals(void **state)
{
    (void)state;
    static const float logits[] = { 1, 3, -2, 3, 3 };
    lvlm_sampler s = make(greedy, 5);
    assert_int_equal(pick(&s, logits), 1);
    lvlm_sampler_free(&s);
}

static void greedy_reads_doubles_as_floats(void **state)
{
    (void)state;
    static const double logits[] = { 1, 1 + 1e-12, 0 };
    lvlm_sampler s = make(greedy, 3);
    lvlm_tensor t = tensor_of(NULL, 3);
    int64_t id = -1;
    t.dtype = LVLM_F64;
    t.data = (const unsigned char *)(const void *)logits;
    t.n_bytes = sizeof logits;
    assert_int_equal(lvlm_sampler_pick(&s, &id, &t, NULL), 0);
    assert_int_equal(id, 0);
    lvlm_sampler_free(&s);
}

/* 3 / 1.5 = 2 is below 2.5; -1 * 1.5 is below -1.2. */
static void penalty_divides_above_zero_and_multiplies_below(void **state)
{
    (void)state;
    static const float above[] = { 3, 2.5f, 1 }, below[] = { -1, -1.2f, -9 };
    /* penalised once; unknown ids are ignored */
    static const int64_t held[] = { 0, 0, 7, -1 };
    lvlm_sampling sampling = greedy;
    sampling.penalty = 1.5;
    lvlm_sampler s = make(sampling, 3);
    assert_int_equal(pick(&s, above), 0);
    assert_int_equal(pick(&s, below), 0);
    lvlm_sampler_hold(&s, held, 4);
    assert_int_equal(pick(&s, above), 1);
    assert_int_equal(pick(&s, below), 1);
    static const float once[] = { 3, 1.9f, 1 }; /* twice would be 1.33 */
    assert_int_equal(pick(&s, once), 0);
    lvlm_sampler_free(&s);
}

static void top_k_keeps_what_equals_the_kth(void **state)
{
    (void)state;
    static const float logits[] = { 1, 2, 3, 2, 0 };
    size_t counts[5];
    count(counts, drawing(2, 1, 1), logits, 5);
    assert_int_equal(counts[0] + counts[4], 0);
    assert_true(counts[1] > 0 && counts[2] > 0 && counts[3] > 0);
    count(counts, drawing(1, 1, 1), logits, 5);
    assert_int_equal(counts[2], DRAWS);
}

static void top_k_of_all_or_more_is_no_limit(void **state)
{
    (void)state;
    static const float logits[] = { 1, 2, 1 };
    size_t none[3], all[3], more[3];
    count(none, drawing(0, 1, 5), logits, 3);
    count(all, drawing(3, 1, 5), logits, 3);
    count(more, drawing(99, 1, 5), logits, 3);
    assert_memory_equal(none, all, sizeof none);
    assert_memory_equal(none, more, sizeof none);
    assert_true(none[0] > 0 && none[1] > 0 && none[2] > 0);
}

/* Compared with a sort, for unsorted numbers. */
static void top_k_is_the_k_largest_of_many(void **state)
{
    (void)state;
    float logits[MOST];
    for (size_t i = 0; i < MOST; i++) logits[i] = (float)(i * 617 % MOST) / 500;
    size_t counts[MOST];
    count(counts, drawing(37, 1, 3), logits, MOST);
    for (size_t i = 0; i < MOST; i++)
        assert_int_equal(counts[i] > 0, i * 617 % MOST >= MOST - 37);
}

/* Probabilities 0.5, 0.3, 0.15, 0.05, not in order. */
static void top_p_keeps_the_likeliest_that_reach_it(void **state)
{
    (void)state;
    const float logits[] = { logf(0.15f), logf(0.5f), logf(0.05f), logf(0.3f) };
    static const struct {
        double p;
        bool kept[4];
    } cases[] = {
        { 0, { false, true, false, false } },  { 0.4, { false, true, false, false } },
        { 0.6, { false, true, false, true } }, { 0.79, { false, true, false, true } },
        { 0.81, { true, true, false, true } }, { 0.94, { true, true, false, true } },
        { 0.96, { true, true, true, true } },  { 1, { true, true, true, true } },
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        size_t counts[4];
        count(counts, drawing(0, cases[c].p, 2), logits, 4);
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(counts[i] > 0, cases[c].kept[i]);
    }
}

static void top_p_takes_equals_in_order_of_their_ids(void **state)
{
    (void)state;
    static const float logits[] = { 7, 7, 7, 7, 7 };
    size_t counts[5];
    count(counts, drawing(0, 0.5, 2), logits, 5);
    assert_true(counts[0] > 0 && counts[1] > 0 && counts[2] > 0);
    assert_int_equal(counts[3] + counts[4], 0);
}

/* 0.4, 0.3, ...: among two they are 0.57 and 0.43, so that the first reaches 0.5. */
static void top_p_applies_to_what_top_k_keeps(void **state)
{
    (void)state;
    const float logits[] = { logf(0.4f), logf(0.3f), logf(0.2f), logf(0.1f) };
    size_t counts[4];
    count(counts, drawing(2, 0.5, 4), logits, 4);
    assert_int_equal(counts[0], DRAWS);
}

static double share(size_t count)
{
    return (double)count / DRAWS;
}

static void draws_have_their_probabilities(void **state)
{
    (void)state;
    const float logits[] = { logf(0.1f), logf(0.6f), logf(0.3f) };
    lvlm_sampling sampling = drawing(0, 1, 11);
    size_t counts[3];
    count(counts, sampling, logits, 3);
    /* three standard deviations are 0.0104; observed 0.0065 */
    assert_true(fabs(share(counts[0]) - 0.1) < 0.0104);
    assert_true(fabs(share(counts[1]) - 0.6) < 0.0104);
    sampling.temperature = 2; /* probabilities become their square roots */
    const double sum = sqrt(0.1) + sqrt(0.6) + sqrt(0.3);
    count(counts, sampling, logits, 3);
    assert_true(fabs(share(counts[0]) - sqrt(0.1) / sum) < 0.0104);
    assert_true(fabs(share(counts[1]) - sqrt(0.6) / sum) < 0.0104);
}

static void draws_follow_from_the_seed(void **state)
{
    (void)state;
    static const float logits[] = { 1, 1.1f, 0.9f, 1, 1.2f, 1 };
    lvlm_sampler a = make(drawing(5, 0.9, 8), 6), b = make(drawing(5, 0.9, 8), 6);
    lvlm_sampler other = make(drawing(5, 0.9, 9), 6);
    size_t differ = 0;
    for (size_t i = 0; i < 100; i++) {
        const int64_t id = pick(&a, logits);
        assert_int_equal(pick(&b, logits), id);
        differ += pick(&other, logits) != id;
    }
    assert_true(differ > 50);
    lvlm_sampler_free(&a);
    lvlm_sampler_free(&b);
    lvlm_sampler_free(&other);
}

static void a_low_temperature_is_greedy(void **state)
{
    (void)state;
    static const float logits[] = { 1, 1.5f, -3 };
    lvlm_sampling sampling = drawing(0, 1, 1);
    size_t counts[3];
    sampling.temperature = 1e-6;
    count(counts, sampling, logits, 3);
    assert_int_equal(counts[1], DRAWS);
}

static void expect_refusal(const float *logits, const char *message)
{
    lvlm_sampler s = make(greedy, 2);
    const lvlm_tensor t = tensor_of(logits, 2);
    lvlm_error err;
    int64_t id;
    assert_int_equal(lvlm_sampler_pick(&s, &id, &t, &err), LVLM_ECHECK);
    assert_string_equal(err.text, message);
    lvlm_sampler_free(&s);
}

static void logits_that_allow_no_choice_are_refused(void **state)
{
    (void)state;
    static const float nan[] = { 1, NAN }, none[] = { -INFINITY, -INFINITY };
    expect_refusal(nan, "logits[1]: is not a number; are the weights sound?");
    expect_refusal(none, "logits: no token is possible");
}

static void numbers_out_of_range_are_refused(void **state)
{
    (void)state;
    static const lvlm_sampling wrong[] = {
        { -1, 0, 1, 1, 0 },   { NAN, 0, 1, 1, 0 },      { 1, 0, 1.01, 1, 0 },
        { 1, 0, -0.1, 1, 0 }, { 1, 0, NAN, 1, 0 },      { 1, 0, 1, 0, 0 },
        { 0, 0, 1, -1, 0 },   { 0, 0, 1, INFINITY, 0 },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(lvlm_sampling_check(&wrong[i], NULL), LVLM_EUSAGE);
    static const lvlm_sampling unused = { 0, 0, 5, 1, 0 }; /* greedy uses none */
    assert_int_equal(lvlm_sampling_check(&unused, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_first_of_equals),
        cmocka_unit_test(greedy_reads_doubles_as_floats),
        cmocka_unit_test(penalty_divides_above_zero_and_multiplies_below),
        cmocka_unit_test(top_k_keeps_what_equals_the_kth),
        cmocka_unit_test(top_k_of_all_or_more_is_no_limit),
        cmocka_unit_test(top_k_is_the_k_largest_of_many),
        cmocka_unit_test(top_p_keeps_the_likeliest_that_reach_it),
        cmocka_unit_test(top_p_takes_equals_in_order_of_their_ids),
        cmocka_unit_test(top_p_applies_to_what_top_k_keeps),
        cmocka_unit_test(draws_have_their_probabilities),
        cmocka_unit_test(draws_follow_from_the_seed),
        cmocka_unit_test(a_low_temperature_is_greedy),
        cmocka_unit_test(logits_that_allow_no_choice_are_refused),
        cmocka_unit_test(numbers_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
