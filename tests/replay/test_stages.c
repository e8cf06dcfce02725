/* test_stages.c - what each stage of training changes, in every family.
 *
 *   fixture x stage -> one step with a large rate and decay -> the digests that differ
 *   are those of the tensors that the stage trains, and of no others
 *
 * The expected sets are in fixtures/NAME/expected.json, from what is published about
 * each family. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/native/native.h"
#include "runtime/tune/trainer.h"
#include "tests/convert/converted.h"
#include "tests/support/fixtures.h"
#include "tests/support/scratch.h"

/* A fixture, a stage, and what it trains: patterns of native names. */
typedef struct expectation {
    const char *fixture, *stage;
    const cJSON *trained;
} expectation;

static bool is_expected(const expectation *e, const char *name)
{
    return fixture_lists(e->trained, name);
}

static cJSON *digests_of(const char *native)
{
    lvlm_checkpoint *cp = NULL;
    cJSON *digests = NULL;
    lvlm_error err;
    if (lvlm_checkpoint_open(&cp, native, NULL, &err) < 0 ||
        lvlm_native_meta_json(&digests, cp, "digests", &err) < 0)
        fail_msg("%s", err.text);
    lvlm_checkpoint_close(cp);
    return digests;
}

/* A view of the golden's inputs under the names of a batch; `tensors`, `by_name` have
 * room for all. */
static lvlm_checkpoint batch_of(const lvlm_checkpoint *golden, lvlm_tensor *tensors,
                                const lvlm_tensor **by_name)
{
    lvlm_checkpoint batch = *golden;
    batch.n_tensors = 0;
    for (size_t i = 0; i < golden->n_tensors; i++) {
        if (strncmp(golden->by_name[i]->name, "in.", 3) != 0) continue;
        tensors[batch.n_tensors] = *golden->by_name[i];
        tensors[batch.n_tensors].name += 3;
        by_name[batch.n_tensors] = &tensors[batch.n_tensors];
        batch.n_tensors++;
    }
    batch.tensors = tensors;
    batch.by_name = by_name;
    return batch;
}

enum { MAX_INPUTS = 16 };

/* Only what is trained has gradients and values of its own. */
static void check_memory(lvlm_trainer *t, const expectation *e)
{
    const lvlm_manifest *const m = lvlm_model_manifest(t->model);
    for (size_t i = 0; i < m->n_targets; i++) {
        const char *const name = m->targets[i].name;
        lvlm_tensor g;
        const bool expected =
            lvlm_target_is_stored(&m->targets[i]) && is_expected(e, name);
        if (lvlm_model_gradient(t->model, &g, name) != expected ||
            (lvlm_model_weight(t->model, name) != NULL) != expected)
            fail_msg("%s, stage %s: %s", e->fixture, e->stage, name);
    }
}

/* Returns the code of saving. */
static int train(const expectation *e, const char *native, const char *tuned,
                 lvlm_error *err)
{
    lvlm_trainer_options options = {
        .adamw = { .lr = 0.05, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .decay = 1 },
        .decay_all = true,
        .schedule = { .kind = LVLM_SCHEDULE_CONSTANT, .steps = 1 },
        .model.threads = 2
    };
    lvlm_tensor tensors[MAX_INPUTS];
    const lvlm_tensor *by_name[MAX_INPUTS];
    char path[SCRATCH_PATH];
    lvlm_checkpoint *golden = NULL;
    lvlm_trainer trainer;
    lvlm_trainer_report report;
    (void)snprintf(path, sizeof path, LVLM_FIXTURES "/%s/golden.safetensors",
                   e->fixture);
    if (lvlm_checkpoint_open(&golden, path, NULL, err) < 0 ||
        lvlm_stage_parse(&options.stage, e->stage, err) < 0 ||
        lvlm_trainer_open(&trainer, native, &options, err) < 0)
        fail_msg("%s", err->text);
    check_memory(&trainer, e);
    const lvlm_checkpoint batch = batch_of(golden, tensors, by_name);
    if (lvlm_trainer_add(&trainer, &batch, "", err) < 0 ||
        lvlm_trainer_step(&trainer, &report, err) < 0)
        fail_msg("%s, stage %s: %s", e->fixture, e->stage, err->text);
    lvlm_outfile *const file = open_outfile(tuned);
    const int rc = lvlm_trainer_save(&trainer, file, err);
    lvlm_outfile_close(file);
    lvlm_trainer_close(&trainer);
    lvlm_checkpoint_close(golden);
    return rc;
}

static void check_changes(const expectation *e, const char *native, const char *tuned)
{
    cJSON *const before = digests_of(native), *const after = digests_of(tuned);
    const cJSON *item;
    size_t n_changed = 0;
    LVLM_JSON_MEMBERS (item, before) {
        const char *const now = lvlm_json_string(lvlm_json_get(after, item->string));
        assert_non_null(now);
        const bool changed = strcmp(now, item->valuestring) != 0;
        if (changed != is_expected(e, item->string))
            fail_msg("%s, stage %s: %s %s", e->fixture, e->stage, item->string,
                     changed ? "changed" : "did not change");
        n_changed += changed;
    }
    assert_true(n_changed > 0);
    lvlm_json_free(before);
    lvlm_json_free(after);
}

static void check_stages(scratch *s, const fixture *f)
{
    const char *const native = scratch_path(s, "model.lvlm");
    const char *const tuned = scratch_path(s, "tuned.lvlm");
    const cJSON *stage;
    lvlm_error err;
    native_convert(f->model, native);
    LVLM_JSON_MEMBERS (stage, lvlm_json_get(f->expected, "trained")) {
        const expectation e = { f->name, stage->string, stage };
        if (train(&e, native, tuned, &err) < 0)
            fail_msg("%s, stage %s: %s", e.fixture, e.stage, err.text);
        check_changes(&e, native, tuned);
    }
}

static void every_stage_changes_what_it_trains_and_nothing_else(void **state)
{
    scratch s;
    fixtures all;
    (void)state;
    scratch_make(&s);
    fixtures_open(&all);
    for (size_t i = 0; i < all.n; i++) check_stages(&s, &all.at[i]);
    fixtures_close(&all);
    scratch_remove(&s);
}

/* Its bytes do not match the digest in the file: the result would contain a tensor that
 * nobody intended. */
static void a_frozen_tensor_that_changed_is_an_error(void **state)
{
    static const lvlm_trainer_options options = { .stage = LVLM_STAGE_3,
                                                  .model.threads = 2 };
    scratch scratch_dir, *const s = &scratch_dir;
    lvlm_trainer trainer;
    lvlm_error err;
    (void)state;
    scratch_make(s);
    native_convert(LVLM_FIXTURES "/paligemma-odd/model", scratch_path(s, "model.lvlm"));
    native_damage(scratch_path(s, "model.lvlm"), "vision.norm.bias", 9, 0,
                  scratch_path(s, "changed.lvlm"));
    assert_int_equal(
        lvlm_trainer_open(&trainer, scratch_path(s, "changed.lvlm"), &options, &err),
        LVLM_ECHECK);
    assert_non_null(strstr(err.text, "vision.norm.bias"));
    lvlm_trainer_close(&trainer);
    scratch_remove(s);
}

static double rate_of(const lvlm_trainer *t, const char *name)
{
    for (size_t i = 0; i < t->n_tensors; i++)
        if (strcmp(t->tensors[i].name, name) == 0) return t->tensors[i].lr;
    fail_msg("%s is not trained", name);
    return 0;
}

static void rates_follow_part_and_depth(void **state)
{
    const lvlm_trainer_options options = { .stage = LVLM_STAGE_FULL,
                                           .adamw = { .lr = 0.5 },
                                           .lr_part = { [LVLM_PART_VISION] = 0.25 },
                                           .min_lr = 0.125,
                                           .layer_decay = 0.5,
                                           .model.threads = 2 };
    scratch s;
    lvlm_trainer t;
    lvlm_error err;
    (void)state;
    scratch_make(&s);
    native_convert(LVLM_FIXTURES "/llava-odd/model", scratch_path(&s, "m.lvlm"));
    if (lvlm_trainer_open(&t, scratch_path(&s, "m.lvlm"), &options, &err) < 0)
        fail_msg("%s", err.text);
    const double first = rate_of(&t, "vision.blocks.0.attn.q.weight");
    assert_true(first < 0.25);
    assert_true(rate_of(&t, "vision.blocks.1.attn.q.weight") == 2 * first);
    assert_true(rate_of(&t, "vision.patch.weight") == first / 2);
    assert_true(rate_of(&t, "connector.fc1.bias") == 0.5);
    assert_true(rate_of(&t, "text.norm.weight") == 0.5);
    assert_true(t.options.schedule.least == 0.25);
    lvlm_trainer_close(&t);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_stage_changes_what_it_trains_and_nothing_else),
        cmocka_unit_test(a_frozen_tensor_that_changed_is_an_error),
        cmocka_unit_test(rates_follow_part_and_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
