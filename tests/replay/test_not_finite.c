/* test_not_finite.c - a NaN stops a run and is reported at the stage where it arises.
 *
 *   a weight, or a pixel, that is not finite -> lvlm_trainer_add -> the first bad
 *   stage; weights and moments stay those of the step before */
#include <math.h>
#include <stdio.h>

#include "runtime/tune/batches.h"
#include "runtime/tune/trainer.h"
#include "tests/convert/converted.h"
#include "tests/support/scratch.h"

#define HUB LVLM_FIXTURES "/paligemma-layouts/hub"
#define BATCHES LVLM_FIXTURES "/train/batches"

static const lvlm_trainer_options options = {
    .stage = LVLM_STAGE_CONNECTOR,
    .adamw = { .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8 },
    .schedule = { LVLM_SCHEDULE_CONSTANT, 0, 8 },
    .accumulate = 1,
    .model.threads = 2
};

static void set_nan(unsigned char *bytes, const lvlm_tensor *tensor)
{
    const float nan_value = NAN;
    assert_int_equal(tensor->dtype, LVLM_F32);
    memcpy(bytes + 2 * sizeof nan_value, &nan_value, sizeof nan_value);
}

static const struct {
    const char *tensor;
    const char *stage; /* the first that shows it */
} planted[] = {
    { "vision.patch.bias", "vision.patches" },
    { "vision.blocks.0.norm2.bias", "vision.blocks.0" },
    { "connector.proj.bias", "connector.out" },
    { "text.blocks.0.mlp.down.weight", "text.blocks.0" },
    { "text.norm.weight", "text.norm" },
};

/* The first step on a folder of batches. */
static int first_step(const char *native, const char *batches, lvlm_error *err)
{
    lvlm_batch_source source;
    lvlm_trainer trainer;
    lvlm_batch batch;
    lvlm_trainer_report report;
    int rc;
    if (lvlm_batches_open(&source, batches, false, 0, err) < 0 ||
        lvlm_trainer_open(&trainer, native, &options, err) < 0 ||
        source.next(source.self, &batch, err) < 0)
        fail_msg("%s", err->text);
    if ((rc = lvlm_trainer_add(&trainer, batch.tensors, "", err)) == 0)
        rc = lvlm_trainer_step(&trainer, &report, err);
    assert_int_equal(trainer.step, rc == 0);
    for (size_t i = 0; i < trainer.n_tensors; i++)
        assert_true(rc == 0 || ((const float *)trainer.tensors[i].of.m)[0] == 0);
    lvlm_trainer_close(&trainer);
    lvlm_batch_source_close(&source);
    return rc;
}

static void a_nan_in_a_weight_is_named_by_its_stage(void **state)
{
    scratch scratch_dir, *const s = &scratch_dir;
    (void)state;
    scratch_make(s);
    native_convert(HUB, scratch_path(s, "model.lvlm"));
    for (size_t i = 0; i < sizeof planted / sizeof *planted; i++) {
        char expected[128];
        lvlm_error err;
        native_change(scratch_path(s, "model.lvlm"), planted[i].tensor, set_nan,
                      scratch_path(s, "bad.lvlm"));
        (void)snprintf(expected, sizeof expected,
                       "the loss is nan; the first stage with a value that is not "
                       "finite is %s",
                       planted[i].stage);
        assert_int_equal(first_step(scratch_path(s, "bad.lvlm"), BATCHES, &err),
                         LVLM_ECHECK);
        assert_string_equal(err.text, expected);
    }
    scratch_remove(s);
}

static void a_pixel_that_is_not_finite_is_refused_by_its_place(void **state)
{
    scratch scratch_dir, *const s = &scratch_dir;
    lvlm_checkpoint *cp = NULL;
    const float infinite = INFINITY;
    lvlm_error err;
    (void)state;
    scratch_make(s);
    native_convert(HUB, scratch_path(s, "model.lvlm"));
    assert_int_equal(
        lvlm_checkpoint_open(&cp, BATCHES "/batch-000.safetensors", NULL, &err), 0);
    const lvlm_infile *const map = cp->files[0].map;
    const lvlm_tensor *const pixels = lvlm_checkpoint_find(cp, "pixel_values");
    unsigned char *const bytes = malloc((size_t)map->n_bytes);
    assert_non_null(bytes);
    memcpy(bytes, map->bytes, (size_t)map->n_bytes);
    memcpy(bytes + pixels->offset + 5 * sizeof infinite, &infinite, sizeof infinite);
    scratch_write(s, "batch-000.safetensors", bytes, (size_t)map->n_bytes);
    free(bytes);
    lvlm_checkpoint_close(cp);
    assert_int_equal(first_step(scratch_path(s, "model.lvlm"), s->dir, &err),
                     LVLM_EFORMAT);
    assert_string_equal(err.text,
                        "pixel_values[0, 0, 0, 5]: got inf, expected a finite number");
    scratch_remove(s);
}

/* One step of good batches into values (n). */
static void step_well(lvlm_trainer *t, const lvlm_checkpoint *batch, float *values,
                      size_t n)
{
    lvlm_trainer_report report;
    lvlm_error err;
    if (lvlm_trainer_add(t, batch, "", &err) < 0 ||
        lvlm_trainer_step(t, &report, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(t->tensors[0].of.n >= n);
    memcpy(values, t->tensors[0].of.w, n * sizeof *values);
}

static void a_bad_batch_discards_those_before_it(void **state)
{
    enum { N = 16 };
    scratch scratch_dir, *const s = &scratch_dir;
    const lvlm_checkpoint nothing = { .path = "nothing" };
    float clean[N], after[N];
    lvlm_checkpoint *batch = NULL;
    lvlm_trainer_report report;
    lvlm_trainer t;
    lvlm_error err;
    (void)state;
    scratch_make(s);
    const char *const model = scratch_path(s, "model.lvlm");
    native_convert(HUB, model);
    assert_int_equal(
        lvlm_checkpoint_open(&batch, BATCHES "/batch-000.safetensors", NULL, &err), 0);
    assert_int_equal(lvlm_trainer_open(&t, model, &options, &err), 0);
    step_well(&t, batch, clean, N);
    lvlm_trainer_close(&t);
    assert_int_equal(lvlm_trainer_open(&t, model, &options, &err), 0);
    assert_int_equal(lvlm_trainer_add(&t, batch, "", &err), 0);
    assert_int_equal(lvlm_trainer_add(&t, &nothing, "", &err), LVLM_EFORMAT);
    assert_int_equal(lvlm_trainer_step(&t, &report, &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "no label of its batches counts"));
    step_well(&t, batch, after, N);
    assert_memory_equal(after, clean, sizeof clean);
    lvlm_trainer_close(&t);
    lvlm_checkpoint_close(batch);
    scratch_remove(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_nan_in_a_weight_is_named_by_its_stage),
        cmocka_unit_test(a_pixel_that_is_not_finite_is_refused_by_its_place),
        cmocka_unit_test(a_bad_batch_discards_those_before_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
