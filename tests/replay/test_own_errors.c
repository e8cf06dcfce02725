/* test_own_errors.c - the error that a stage makes by itself, and the one that it was
 * given.
 *
 *   every fixture -> every stage from recorded rows: within its band, the same bits
 *                    whatever else is computed
 *   errors planted in two blocks -> both have an error of their own, others follow
 *   a recording that lacks the stage between -> not separable */
#include "runtime/collect.h"
#include "tests/replay/recordings.h"
#include "tests/support/fixtures.h"
#include "verify/replay/bands.h"
#include "verify/replay/own.h"

static const lvlm_replay_options plain = { .threads = 2 };

/* ---- sound models ---------------------------------------------------------------- */

/* What a pass from recorded rows takes: all stages, or one of them. */
typedef struct taken {
    const lvlm_replay_stage *only; /* NULL: all */
    lvlm_stage_list list;
} taken;

static bool wants(void *user, const lvlm_replay_stage *stage)
{
    const taken *const t = user;
    return t->only == NULL || t->only == stage;
}

static int take(void *user, const lvlm_replay_stage *stage, const lvlm_tensor *got,
                lvlm_error *err)
{
    taken *const t = user;
    lvlm_stage_error found;
    TRY(lvlm_stage_list_add(&t->list, got, err));
    TRY(lvlm_stage_compare(&found, got, stage->recorded, &stage->rows, false, err));
    /* observed at most 1.8e-15 in double, 1.2e-6 in float32 */
    if (!(found.error <= stage->band))
        fail_msg("%s by itself: %.2e", stage->name, found.error);
    return 0;
}

static void compute(taken *t, const lvlm_replay *r, lvlm_model *model)
{
    const lvlm_given_pass pass = {
        .replay = r, .wants = wants, .take = take, .user = t
    };
    lvlm_error err;
    if (lvlm_given_pass_run(&pass, model, &err) < 0) fail_msg("%s", err.text);
}

/* Every stage, then each of them alone. */
static void compute_stages(const lvlm_replay *r)
{
    const lvlm_model_options options = { .compute = r->compute,
                                         .threads = 2,
                                         .reference = r->reference };
    lvlm_model *model = NULL;
    lvlm_error err;
    taken all = { .only = NULL };
    if (lvlm_model_open(&model, r->model, &options, &err) < 0) fail_msg("%s", err.text);
    compute(&all, r, model);
    assert_int_equal(all.list.n, r->n_stages);
    for (size_t i = 0; i < r->n_stages; i++) {
        taken one = { .only = &r->stages[i] };
        compute(&one, r, model);
        assert_int_equal(one.list.n, 1);
        const lvlm_tensor *const a = one.list.stages;
        const lvlm_tensor *const b = lvlm_stage_list_find(&all.list, a->name);
        assert_int_equal(a->n_bytes, b->n_bytes);
        if (memcmp(a->data, b->data, (size_t)a->n_bytes) != 0)
            fail_msg("%s: %s: other bits by itself", r->golden, a->name);
        lvlm_stage_list_free(&one.list);
    }
    lvlm_stage_list_free(&all.list);
    lvlm_model_free(model);
}

static void every_stage_agrees_by_itself(void **state)
{
    scratch *const s = *state;
    fixtures all;
    fixtures_open(&all);
    for (size_t i = 0; i < 2 * all.n; i++) {
        const fixture *const f = &all.at[i / 2];
        const char *const native = scratch_path(s, "model.lvlm");
        lvlm_replay r;
        if (i % 2 == 0) native_convert(f->model, native);
        must_replay(&r, native, i % 2 == 0 ? f->golden64 : f->golden, &plain);
        assert_null(r.cause);
        assert_null(r.why);
        for (size_t k = 0; k < r.n_stages; k++) assert_false(r.stages[k].share.known);
        compute_stages(&r);
        lvlm_replay_free(&r);
    }
    fixtures_close(&all);
}

/* ---- planted errors -------------------------------------------------------------- */

/* A hundredth larger. */
static void enlarge(unsigned char *bytes, const lvlm_tensor *t)
{
    assert_int_equal(t->dtype, LVLM_F32);
    for (uint64_t i = 0; i < lvlm_tensor_numel(t); i++) {
        float x;
        memcpy(&x, bytes + i * sizeof x, sizeof x);
        x *= 1.01f;
        memcpy(bytes + i * sizeof x, &x, sizeof x);
    }
}

#define FIXTURE LVLM_FIXTURES "/qwen2_vl-odd"

/* The fixture's model with errors in both blocks of text. */
static const char *plant(scratch *s)
{
    const char *const native = scratch_path(s, "model.lvlm");
    const char *const wrong = scratch_path(s, "wrong.lvlm");
    native_convert(FIXTURE "/model", native);
    native_change(native, "text.blocks.*.mlp.down.weight", enlarge, wrong);
    return wrong;
}

static void followers_have_no_error_of_their_own(void **state)
{
    lvlm_replay r;
    must_replay(&r, plant(*state), FIXTURE "/golden64.safetensors", &plain);
    assert_string_equal(r.first_bad->name, "text.blocks.0");
    assert_ptr_equal(r.cause, r.first_bad);
    for (size_t i = 0; i < r.n_stages; i++) {
        const lvlm_replay_share *const share = &r.stages[i].share;
        const bool fails = r.stages[i].verdict == LVLM_VERDICT_OUT;
        const bool planted = strstr(r.stages[i].name, "text.blocks.") != NULL;
        assert_int_equal(share->known, fails);
        if (!fails) continue;
        assert_true(share->is_direct);
        assert_int_equal(share->is_cause, planted);
        assert_true(planted ? share->own > 1e-4 : share->own < 1e-14);
    }
    const lvlm_replay_share *const second = &stage_of(&r, "text.blocks.1")->share;
    assert_string_equal(second->from, "text.blocks.0");
    assert_true(second->given == r.cause->error);
    assert_true(r.cause->share.given < 1e-14);
    lvlm_replay_free(&r);
}

/* The recording without a stage. */
static const char *without(scratch *s, const char *stage)
{
    const char *const path = scratch_path(s, "lacks.safetensors");
    recorded rec;
    recorded_open(&rec, FIXTURE "/golden64.safetensors");
    recorded_drop(&rec, stage);
    recorded_save(&rec, path);
    recorded_close(&rec);
    return path;
}

static void a_stage_that_is_not_recorded_is_not_separable(void **state)
{
    lvlm_replay r;
    const char *const wrong = plant(*state);
    must_replay(&r, wrong, without(*state, "out.text.blocks.0"), &plain);
    assert_string_equal(r.cause->name, "text.blocks.1");
    assert_string_equal(r.cause->share.from, "text.embed");
    assert_false(r.cause->share.is_direct);
    assert_true(stage_of(&r, "text.norm")->share.is_direct);
    lvlm_replay_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_stage_agrees_by_itself, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test_setup_teardown(followers_have_no_error_of_their_own,
                                        scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_stage_that_is_not_recorded_is_not_separable,
                                        scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
