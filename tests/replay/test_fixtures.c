/* test_fixtures.c - every fixture converts, is restored byte for byte and replays in
 * both precisions; a wrong weight is found; every family has fixtures.
 *
 *   families.def x fixtures/NAME -> hf2native -> native2hf == source
 *                                -> replay golden: all stages in their bands
 *                                -> replay golden64: stages and gradients, exact
 *                                -> one lowest bit flipped: its stage is named */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/export.h"
#include "formats/base/json.h"
#include "tests/convert/converted.h"
#include "tests/support/fixtures.h"
#include "verify/replay/replay.h"

typedef struct context {
    fixtures all;
    scratch s;
} context;

static int setup(void **state)
{
    static context c;
    fixtures_open(&c.all);
    scratch_make(&c.s);
    *state = &c;
    return 0;
}

static int teardown(void **state)
{
    context *const c = *state;
    fixtures_close(&c->all);
    scratch_remove(&c->s);
    return 0;
}

static const cJSON *expected(const fixture *f, const char *key)
{
    return lvlm_json_get(f->expected, key);
}

/* The main fixture has the expectations of the family, and at least one fixture names
 * stages that show a wrong weight. */
static void every_family_has_fixtures(void **state)
{
    const context *const c = *state;
    for (const lvlm_family *const *family = lvlm_families(); *family != NULL;
         family++) {
        size_t n_main = 0, n_shown = 0;
        for (size_t i = 0; i < c->all.n; i++) {
            const fixture *const f = &c->all.at[i];
            if (f->family != *family) continue;
            n_shown += lvlm_json_count_members(expected(f, "shown_by"));
            if (!f->is_main) continue;
            n_main++;
            assert_int_equal(lvlm_json_count_members(expected(f, "trained")), 5);
            assert_non_null(expected(f, "decaying_vectors"));
            assert_non_null(expected(f, "linear_maps"));
        }
        if (n_main != 1 || n_shown < 5)
            fail_msg("%s: %zu main fixtures, %zu weights that a stage shows",
                     (*family)->name, n_main, n_shown);
    }
}

/* ---- round trip ----------------------------------------------------------------- */

static void every_fixture_is_restored_byte_for_byte(void **state)
{
    const lvlm_export_options options = { .source = true };
    const lvlm_run writing = { .threads = 2 };
    context *const c = *state;
    for (size_t i = 0; i < c->all.n; i++) {
        const fixture *const f = &c->all.at[i];
        const char *const native = scratch_path(&c->s, "model.lvlm");
        const char *const back = scratch_path(&c->s, f->name);
        lvlm_export *export = NULL;
        lvlm_error err;
        native_convert(f->model, native);
        lvlm_outdir *const dir = open_outdir(back, &lvlm_model_set);
        if (lvlm_export_plan(&export, native, &options, &err) < 0 ||
            lvlm_export_execute(export, dir, &writing, &err) < 0)
            fail_msg("%s: %s", f->name, err.text);
        lvlm_outdir_close(dir);
        lvlm_export_free(export);
        if (!directories_equal(f->model, back))
            fail_msg("%s: what comes back differs", f->name);
    }
}

/* ---- replay --------------------------------------------------------------------- */

static void run(lvlm_replay *replay, const char *native, const char *golden,
                const lvlm_replay_options *options)
{
    lvlm_error err;
    if (lvlm_replay_run(replay, native, golden, options, &err) < 0)
        fail_msg("%s: %s", golden, err.text);
}

/* Every stage has that verdict, and there are at least so many. */
static void expect(const lvlm_replay *replay, lvlm_verdict verdict, size_t least)
{
    for (size_t i = 0; i < replay->n_stages; i++)
        if (replay->stages[i].verdict != verdict)
            fail_msg("%s: %s: %s, %.2e", replay->golden, replay->stages[i].name,
                     lvlm_verdict_name(replay->stages[i].verdict),
                     replay->stages[i].error);
    assert_true(replay->n_stages >= least);
}

/* A recording in float32: every stage is within its band. */
static void replay_float32(const char *native, const char *golden)
{
    const lvlm_replay_options options = { .threads = 2 };
    lvlm_replay replay;
    run(&replay, native, golden, &options);
    assert_int_equal(replay.compute, LVLM_COMPUTE_F32);
    expect(&replay, LVLM_VERDICT_OK, 3); /* text.norm, logits and loss */
    lvlm_replay_free(&replay);
}

/* One in double: every stage and gradient is exact. Observed at most 4.3e-15 and
 * 3.4e-13 with gcc 12 and OpenBLAS 0.3.21; recordings made with AVX2 and with AVX-512
 * differ by up to 2.0e-15 and 2.7e-13. */
static void replay_double(const char *native, const char *golden)
{
    const lvlm_replay_options options = { .threads = 2, .grads = true };
    lvlm_replay replay;
    run(&replay, native, golden, &options);
    assert_int_equal(replay.compute, LVLM_COMPUTE_F64);
    expect(&replay, LVLM_VERDICT_EXACT, 10 + 30); /* stages and gradients */
    assert_string_equal(replay.source, replay.recording.source); /* of every tensor */
    lvlm_replay_free(&replay);
}

/* Products of rounded operands: every stage is within that precision's band, or differs
 * by rounding, which some gradients consist of. */
static void replay_rounded(const char *native, const char *golden, bool grads)
{
    static const lvlm_compute rounded[] = { LVLM_COMPUTE_BF16X2, LVLM_COMPUTE_BF16 };
    for (size_t i = 0; i < sizeof rounded / sizeof *rounded; i++) {
        const lvlm_replay_options options = { .compute = &rounded[i],
                                              .threads = 2,
                                              .grads = grads };
        lvlm_replay replay;
        run(&replay, native, golden, &options);
        assert_int_equal(replay.compute, rounded[i]);
        if (replay.n_failed > 0)
            fail_msg("%s, %s: %s, %.2e", golden, lvlm_compute_name(rounded[i]),
                     replay.first_bad->name, replay.first_bad->error);
        assert_true(replay.n_stages >= 3);
        lvlm_replay_free(&replay);
    }
}

/* golden.safetensors, golden64.safetensors, and those of other references. */
static void replay_all(const fixture *f, const char *native)
{
    char **names;
    size_t n, n_goldens = 0;
    assert_int_equal(lvlm_path_list(&names, &n, f->folder, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        char golden[2 * FIXTURE_PATH];
        if (strncmp(names[i], "golden", strlen("golden")) != 0) continue;
        (void)snprintf(golden, sizeof golden, "%s/%s", f->folder, names[i]);
        const bool in_double = strncmp(names[i], "golden64", strlen("golden64")) == 0;
        replay_rounded(native, golden, in_double);
        if (in_double)
            replay_double(native, golden);
        else
            replay_float32(native, golden);
        n_goldens++;
    }
    assert_true(n_goldens >= 2);
    lvlm_path_list_free(names, n);
}

static void every_fixture_replays_in_both_precisions(void **state)
{
    context *const c = *state;
    for (size_t i = 0; i < c->all.n; i++) {
        const char *const native = scratch_path(&c->s, "model.lvlm");
        native_convert(c->all.at[i].model, native);
        replay_all(&c->all.at[i], native);
    }
}

/* ---- planted errors ------------------------------------------------------------- */

/* Flips the lowest bit of one value, the smallest possible error. */
static void flip(unsigned char *bytes, const lvlm_tensor *t)
{
    bytes[7 % lvlm_tensor_numel(t) * lvlm_dtype_bytes(t->dtype)] ^= 1;
}

/* The stage that shows a wrong tensor first. */
static void find_planted(const fixture *f, const char *native, const char *wrong,
                         const cJSON *planted)
{
    const lvlm_replay_options options = { .threads = 2, .depth = LVLM_REPLAY_VERDICTS };
    lvlm_replay replay;
    native_change(native, planted->string, flip, wrong);
    run(&replay, wrong, f->golden64, &options);
    if (replay.first_bad == NULL)
        fail_msg("%s: %s: not noticed", f->name, planted->string);
    assert_string_equal(replay.first_bad->name, lvlm_json_string(planted));
    assert_string_not_equal(replay.source, replay.recording.source);
    lvlm_replay_free(&replay);
}

static void a_changed_weight_is_found_at_its_stage(void **state)
{
    context *const c = *state;
    for (size_t i = 0; i < c->all.n; i++) {
        const fixture *const f = &c->all.at[i];
        const char *const native = scratch_path(&c->s, "model.lvlm");
        const char *const wrong = scratch_path(&c->s, "wrong.lvlm");
        const cJSON *planted;
        if (expected(f, "shown_by") == NULL) continue;
        native_convert(f->model, native);
        LVLM_JSON_MEMBERS (planted, expected(f, "shown_by"))
            find_planted(f, native, wrong, planted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_has_fixtures),
        cmocka_unit_test(every_fixture_is_restored_byte_for_byte),
        cmocka_unit_test(every_fixture_replays_in_both_precisions),
        cmocka_unit_test(a_changed_weight_is_found_at_its_stage),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
