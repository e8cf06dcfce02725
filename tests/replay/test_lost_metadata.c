/* test_lost_metadata.c - a recording without metadata that fails is tried with the
 * family's other behaviours, and the verdict names the one that agrees. */
#include "tests/replay/recordings.h"

static const lvlm_replay_options plain = { .threads = 2 };

/* Recordings that differ from what was trained (formats/family/DIFFERENCES.md). */
static const struct {
    const char *fixture, *golden, *agrees;
} cases[] = {
    { "paligemma2-odd", "golden64", "transformers-5.23.0" },
    { "mllama-odd", "golden64-transformers5", "transformers-5.23.0" },
    { "paligemma2-window", "golden", "transformers-5.23.0" },
};

/* The recording without what it says of its reference. */
static void forget(scratch *s, const char *fixture, const char *golden, double factor)
{
    char path[SCRATCH_PATH];
    recorded rec;
    (void)snprintf(path, sizeof path, LVLM_FIXTURES "/%s/model", fixture);
    native_convert(path, scratch_path(s, "model.lvlm"));
    (void)snprintf(path, sizeof path, LVLM_FIXTURES "/%s/%s.safetensors", fixture,
                   golden);
    recorded_open(&rec, path);
    recorded_forget(&rec, "reference");
    if (factor != 1) *(double *)recorded_values(&rec, "out.loss") *= factor;
    recorded_save(&rec, scratch_path(s, "lost.safetensors"));
    recorded_close(&rec);
}

static void the_behaviour_that_agrees_is_named(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lvlm_replay r;
        forget(*state, cases[i].fixture, cases[i].golden, 1);
        must_replay(&r, scratch_path(*state, "model.lvlm"),
                    scratch_path(*state, "lost.safetensors"), &plain);
        assert_true(r.n_failed > 0);
        assert_non_null(r.agrees_with);
        assert_string_equal(r.agrees_with, cases[i].agrees);
        assert_true(r.n_tried > 0);
        lvlm_replay_free(&r);
    }
}

/* The second has padding that some behaviours refuse to compute. */
static void none_is_named_where_none_agrees(void **state)
{
    static const char *const fixtures[] = { "paligemma2-odd", "paligemma-odd" };
    for (size_t i = 0; i < 2; i++) {
        lvlm_replay r;
        forget(*state, fixtures[i], "golden64", 1.5);
        must_replay(&r, scratch_path(*state, "model.lvlm"),
                    scratch_path(*state, "lost.safetensors"), &plain);
        assert_true(r.n_failed > 0);
        assert_null(r.agrees_with);
        assert_true(r.n_tried > 1);
        lvlm_replay_free(&r);
    }
}

/* Nothing is tried if the replay passes, or if the caller says what to compute. */
static void nothing_is_tried_without_need(void **state)
{
    const lvlm_replay_options told = { .threads = 2, .reference = "trained" };
    lvlm_replay r;
    forget(*state, "llava-odd", "golden64", 1);
    must_replay(&r, scratch_path(*state, "model.lvlm"),
                scratch_path(*state, "lost.safetensors"), &plain);
    assert_int_equal(r.n_failed, 0);
    assert_int_equal(r.n_tried, 0);
    lvlm_replay_free(&r);
    forget(*state, "paligemma2-odd", "golden64", 1);
    must_replay(&r, scratch_path(*state, "model.lvlm"),
                scratch_path(*state, "lost.safetensors"), &told);
    assert_true(r.n_failed > 0);
    assert_int_equal(r.n_tried, 0);
    lvlm_replay_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_behaviour_that_agrees_is_named),
        cmocka_unit_test(none_is_named_where_none_agrees),
        cmocka_unit_test(nothing_is_tried_without_need),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
