/* test_model_dropout.c - whole models that drop values in training: losses are those of
 * the reference, gradients are their slopes, and what is dropped follows from the noise
 * and nothing else.
 *
 *   fixture of a family -> native file -> rates at all places of the family -> backward
 *   -> along a random direction of a tensor, the loss of passes with the same noise */
#include <stdio.h>

#include "runtime/tune/dropout_rates.h"
#include "tests/replay/slopes.h"
#include "tests/support/fixtures.h"

#define BAND 1e-6 /* relative; observed 2.2e-8, gcc 12, OpenBLAS 0.3.21 */

enum { SAMPLE = 4 }; /* one tensor in so many */

/* As fixtures/dropout.py has it. */
static const lvlm_noise noise = { .step = 11, .texts = 3, .images = 2 };

static size_t n_recorded;

#define LOSS_BAND 1e-12 /* relative; observed 2.2e-16 */
/* In f32; equal, or with OpenBLAS, whose sums depend on how many images a frozen tower
 * takes at once, 3e-8 apart. */
#define FROZEN_BAND 1e-6

static bool last_norm_only(void *user, const lvlm_manifest *manifest,
                           const lvlm_target *target)
{
    (void)user, (void)manifest;
    return strcmp(target->name, "text.norm.weight") == 0;
}

static lvlm_model *open_model(const char *native, lvlm_compute compute, size_t threads,
                              bool checkpointing)
{
    const lvlm_model_options options = { .compute = compute,
                                         .threads = threads,
                                         .trains = trains_everything,
                                         .own_weights = true,
                                         .checkpointing = checkpointing };
    lvlm_model *model = NULL;
    lvlm_error err;
    if (lvlm_model_open(&model, native, &options, &err) < 0) fail_msg("%s", err.text);
    return model;
}

static void set_rates(lvlm_model *model, double rate)
{
    double rates[LVLM_N_DROPOUTS];
    for (size_t i = 0; i < LVLM_N_DROPOUTS; i++) rates[i] = rate;
    lvlm_model_set_dropout(model, rates);
    lvlm_model_set_noise(model, &noise);
}

/* Of the table of words and a sample of the others: blocks are alike. */
static void check_slopes(const char *native, const fixture *f,
                         const lvlm_checkpoint *golden)
{
    lvlm_model *const model = open_model(native, LVLM_COMPUTE_F64, 1, false);
    const lvlm_manifest *const m = lvlm_model_manifest(model);
    double worst = 0;
    size_t n_checked = 0;
    set_rates(model, 0.2);
    for (size_t i = 0; i < m->n_targets; i++) {
        lvlm_tensor g;
        if (i % SAMPLE != 0 && strcmp(m->targets[i].name, LVLM_EMBED_TABLE) != 0)
            continue;
        lvlm_model_zero_gradients(model); /* each pass adds to them */
        (void)trained_loss(model, golden);
        if (!lvlm_model_gradient(model, &g, m->targets[i].name)) continue;
        const double error = slope_error(trained_loss, model, golden,
                                         m->targets[i].name, &g, ++n_checked);
        if (!(error <= BAND))
            fail_msg("%s: %s: relative error of its slope %.2e", f->name,
                     m->targets[i].name, error);
        worst = fmax(worst, error);
    }
    assert_true(n_checked >= 33 / SAMPLE); /* the smallest model has 33 */
    if (getenv("LVLM_TEST_SHOW") != NULL) print_message("%s: %.2g\n", f->name, worst);
    lvlm_model_free(model);
}

/* The same bits with other threads and recomputed activations. */
static void check_bits(const char *native, const fixture *f,
                       const lvlm_checkpoint *golden)
{
    lvlm_model *const one = open_model(native, LVLM_COMPUTE_F32, 1, false);
    lvlm_model *const two = open_model(native, LVLM_COMPUTE_F32, 2, true);
    const lvlm_manifest *const m = lvlm_model_manifest(one);
    set_rates(one, 0.3);
    set_rates(two, 0.3);
    assert_true(trained_loss(one, golden) == trained_loss(two, golden));
    for (size_t i = 0; i < m->n_targets; i++) {
        lvlm_tensor a, b;
        if (!lvlm_model_gradient(one, &a, m->targets[i].name)) continue;
        assert_true(lvlm_model_gradient(two, &b, m->targets[i].name));
        if (memcmp(a.data, b.data, (size_t)a.n_bytes) != 0)
            fail_msg("%s: %s", f->name, m->targets[i].name);
    }
    lvlm_model_free(one);
    lvlm_model_free(two);
}

/* Each place of the family drops something, in training only; the noise says what. */
static void check_places(const char *native, const fixture *f,
                         const lvlm_checkpoint *golden)
{
    lvlm_model *const model = open_model(native, LVLM_COMPUTE_F64, 1, false);
    const double whole = trained_loss(model, golden);
    const double shown = evaluated_loss(model, golden);
    for (const lvlm_dropout_row *row = f->family->dropouts;
         row->place != LVLM_NO_DROPOUT; row++) {
        double rates[LVLM_N_DROPOUTS] = { 0 };
        const lvlm_noise others[] = { { .step = 12, .texts = 3, .images = 2 },
                                      { .step = 11, .texts = 4, .images = 3 } };
        rates[row->place] = 0.5;
        lvlm_model_set_dropout(model, rates);
        lvlm_model_set_noise(model, &noise);
        const double dropped = trained_loss(model, golden);
        assert_true(fabs(dropped - whole) > 1e-7);
        assert_true(trained_loss(model, golden) == dropped);
        assert_true(evaluated_loss(model, golden) == shown);
        for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
            lvlm_model_set_noise(model, &others[i]);
            assert_true(trained_loss(model, golden) != dropped);
        }
    }
    set_rates(model, 0);
    assert_true(trained_loss(model, golden) == whole);
    lvlm_model_free(model);
}

/* The rates and the noise of fixtures/dropout.json, where this fixture is in it. */
static void check_recorded(const char *native, const fixture *f,
                           const lvlm_checkpoint *golden)
{
    cJSON *const all = fixture_json(".", "dropout.json");
    const cJSON *const recorded = lvlm_json_get(lvlm_json_get(all, "losses"), f->name);
    const lvlm_model_options options = {
        .compute = LVLM_COMPUTE_F64,
        .threads = 2,
        .trains = last_norm_only,
        .reference = lvlm_json_string(lvlm_json_get(all, "reference")),
    };
    double rates[LVLM_N_DROPOUTS] = { 0 }, loss;
    lvlm_model *model = NULL;
    lvlm_error err;
    if (recorded != NULL) {
        if (lvlm_model_open(&model, native, &options, &err) < 0)
            fail_msg("%s: %s", f->name, err.text);
        for (lvlm_dropout_place i = LVLM_NO_DROPOUT + 1; i < LVLM_N_DROPOUTS; i++)
            (void)lvlm_json_double(
                &rates[i],
                lvlm_json_get(lvlm_json_get(recorded, "rates"), lvlm_dropout_name(i)));
        lvlm_model_set_dropout(model, rates);
        lvlm_model_set_noise(model, &noise);
        assert_true(lvlm_json_double(&loss, lvlm_json_get(recorded, "loss")));
        const double error = fabs(trained_loss(model, golden) / loss - 1);
        if (!(error <= LOSS_BAND)) fail_msg("%s: loss off by %.2e", f->name, error);
        if (getenv("LVLM_TEST_SHOW") != NULL)
            print_message("%s: %.2g\n", f->name, error);
        lvlm_model_free(model);
        n_recorded++;
    }
    lvlm_json_free(all);
}

/* For the main fixture of every family. */
static void visit(void (*check)(const char *native, const fixture *f,
                                const lvlm_checkpoint *golden))
{
    scratch scratch_dir, *const s = &scratch_dir;
    fixtures all;
    size_t n = 0;
    scratch_make(s);
    fixtures_open(&all);
    for (size_t i = 0; i < all.n; i++) {
        const fixture *const f = &all.at[i];
        const char *const native = scratch_path(s, "model.lvlm");
        if (!f->is_main) continue;
        native_convert(f->model, native);
        lvlm_checkpoint *const golden = must_open(f->golden64);
        check(native, f, golden);
        lvlm_checkpoint_close(golden);
        n++;
    }
    assert_true(n >= 7); /* families */
    fixtures_close(&all);
    scratch_remove(s);
}

/* Frozen parts drop too, those that keep nothing for backward. */
static void check_frozen(const char *native, const fixture *f,
                         const lvlm_checkpoint *golden)
{
    const lvlm_model_options options = { .trains = last_norm_only, .threads = 2 };
    lvlm_model *const all = open_model(native, LVLM_COMPUTE_F32, 1, false);
    lvlm_model *frozen = NULL;
    lvlm_error err;
    if (lvlm_model_open(&frozen, native, &options, &err) < 0)
        fail_msg("%s: %s", f->name, err.text);
    set_rates(all, 0.3);
    set_rates(frozen, 0.3);
    const double error =
        fabs(trained_loss(frozen, golden) / trained_loss(all, golden) - 1);
    if (!(error <= FROZEN_BAND)) fail_msg("%s: loss off by %.2e", f->name, error);
    lvlm_model_free(all);
    lvlm_model_free(frozen);
}

static void every_gradient_is_the_slope_of_the_loss(void **state)
{
    (void)state;
    visit(check_slopes);
}

static void threads_and_checkpointing_change_no_bit(void **state)
{
    (void)state;
    visit(check_bits);
}

/* That library's own code, with the same elements dropped. */
static void losses_are_those_of_transformers(void **state)
{
    (void)state;
    visit(check_recorded);
    assert_int_equal(n_recorded, 6);
}

static void frozen_parts_drop_too(void **state)
{
    (void)state;
    visit(check_frozen);
}

static void every_place_drops_by_the_noise(void **state)
{
    (void)state;
    visit(check_places);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gradient_is_the_slope_of_the_loss),
        cmocka_unit_test(threads_and_checkpointing_change_no_bit),
        cmocka_unit_test(losses_are_those_of_transformers),
        cmocka_unit_test(frozen_parts_drop_too),
        cmocka_unit_test(every_place_drops_by_the_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
