/* test_trained.c - whole trainings compared with those of torch, step by step.
 *
 *   fixtures/train/expected.json: options, losses, norms, rates of each run
 *   paligemma-layouts/hub -> native, in the run's type -> trainer.h -> each step's
 *   numbers, and the stored tensors after the last one */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "runtime/tune/batches.h"
#include "runtime/tune/trainer.h"
#include "tests/replay/trained_weights.h"
#include "tests/support/fixtures.h"

#define FOLDER LVLM_FIXTURES "/train/"

/* Relative; gcc 12, OpenBLAS 0.3.21. */
#define BAND_LOSS 2e-6   /* observed 9.5e-8 */
#define BAND_NORM 1e-5   /* observed 3.1e-6 */
#define BAND_RATE 1e-12  /* observed 0 */
#define BAND_CHANGE 5e-5 /* of all weights together; observed 5.6e-6 */
#define BAND_BF16 1e-3   /* values that were rounded to another bf16; observed 1e-4 */

static double number(const cJSON *run, const char *key, double absent)
{
    double value = absent;
    (void)lvlm_json_double(&value, lvlm_json_get(run, key));
    return value;
}

static double number_at(const cJSON *run, const char *key, size_t i)
{
    double value = NAN;
    (void)lvlm_json_double(&value, lvlm_json_item(lvlm_json_get(run, key), i));
    return value;
}

static const char *word(const cJSON *run, const char *key)
{
    const char *const text = lvlm_json_string(lvlm_json_get(run, key));
    assert_non_null(text);
    return text;
}

static lvlm_trainer_options options_of(const cJSON *run, lvlm_compute compute)
{
    lvlm_trainer_options o = { .adamw = { .lr = number(run, "lr", 0),
                                          .beta1 = number(run, "beta1", 0.9),
                                          .beta2 = number(run, "beta2", 0.999),
                                          .eps = number(run, "eps", 1e-8),
                                          .decay = number(run, "weight-decay", 0) },
                               .lr_part[LVLM_PART_VISION] = number(run, "lr-vision", 0),
                               .lr_part[LVLM_PART_CONNECTOR] =
                                   number(run, "lr-connector", 0),
                               .clip = number(run, "clip", 0),
                               .decay_all = strcmp(word(run, "decay"), "all") == 0,
                               .accumulate = (size_t)number(run, "accumulate", 1),
                               .model.compute = compute,
                               .model.threads = 2,
                               .model.reference = "transformers-5.23.0" };
    const double warmup = number(run, "warmup", 0), steps = number(run, "steps", 0);
    o.schedule.steps = (size_t)steps;
    o.schedule.warmup = (size_t)(warmup < 1 ? ceil(warmup * steps) : warmup);
    assert_int_equal(lvlm_stage_parse(&o.stage, word(run, "stage"), NULL), 0);
    assert_int_equal(lvlm_schedule_parse(&o.schedule.kind, word(run, "schedule"), NULL),
                     0);
    return o;
}

static void check(const char *what, const char *run, size_t step, double got,
                  double expected, double band)
{
    const double error = fabs(got - expected) / fmax(fabs(expected), 1e-30);
    if (got != expected && !(error <= band))
        fail_msg("%s, step %zu: %s is %.9g, expected %.9g, %.1e away", run, step, what,
                 got, expected, error);
}

static void take_steps(lvlm_trainer *t, const cJSON *run, lvlm_batch_source *source)
{
    lvlm_trainer_report report;
    lvlm_error err;
    for (size_t step = 0; step < t->options.schedule.steps; step++) {
        for (size_t i = 0; i < t->options.accumulate; i++) {
            lvlm_batch batch;
            if (source->next(source->self, &batch, &err) < 0 ||
                lvlm_trainer_add(t, batch.tensors, "", &err) < 0)
                fail_msg("%s: %s", run->string, err.text);
        }
        if (lvlm_trainer_step(t, &report, &err) < 0) fail_msg("%s", err.text);
        check("loss", run->string, step + 1, report.loss,
              number_at(run, "losses", step), BAND_LOSS);
        check("gradient norm", run->string, step + 1, report.grad_norm,
              number_at(run, "grad_norms", step), BAND_NORM);
        check("rate", run->string, step + 1, report.lr, number_at(run, "rates", step),
              BAND_RATE);
    }
}

/* Compares how far the weights moved with how far they are from the expected ones. */
static void compare(const char *name, const char *native, const char *tuned)
{
    char path[SCRATCH_PATH];
    (void)snprintf(path, sizeof path, FOLDER "%s.safetensors", name);
    const weights_change c = weights_compare(native, tuned, path);
    if (!(c.error <= BAND_CHANGE))
        fail_msg("%s: the weights' change is %.1e away", name, c.error);
    if (c.dtype == LVLM_BF16 && !((double)c.n_other <= BAND_BF16 * (double)c.n))
        fail_msg("%s: %zu of %zu values are others", name, c.n_other, c.n);
}

static void train(const cJSON *run, scratch *s, lvlm_dtype dtype, lvlm_compute compute)
{
    const char *const native = scratch_path(s, "model.lvlm");
    const char *const tuned = scratch_path(s, "tuned.lvlm");
    const lvlm_import_options import = { .change_dtype = true, .dtype = dtype };
    const lvlm_trainer_options options = options_of(run, compute);
    lvlm_batch_source source;
    lvlm_trainer trainer;
    lvlm_error err;
    native_convert_as(LVLM_FIXTURES "/paligemma-layouts/hub", native, &import);
    if (lvlm_batches_open(&source, FOLDER "batches", false, 0, &err) < 0 ||
        lvlm_trainer_open(&trainer, native, &options, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(trainer.dtype, compute == LVLM_COMPUTE_F64 ? LVLM_F64 : LVLM_F32);
    take_steps(&trainer, run, &source);
    lvlm_outfile *const file = open_outfile(tuned);
    if (lvlm_trainer_save(&trainer, file, &err) < 0) fail_msg("%s", err.text);
    lvlm_outfile_close(file);
    compare(run->string, native, tuned);
    lvlm_trainer_close(&trainer);
    lvlm_batch_source_close(&source);
}

static void train_all(lvlm_compute compute)
{
    cJSON *const expected = fixture_json("train", "expected.json");
    const cJSON *run;
    size_t n = 0;
    LVLM_JSON_MEMBERS (run, expected) {
        scratch s;
        scratch_make(&s);
        train(run, &s, strcmp(run->string, "bf16") == 0 ? LVLM_BF16 : LVLM_F32,
              compute);
        scratch_remove(&s);
        n++;
    }
    assert_int_equal(n, 3);
    lvlm_json_free(expected);
}

static void training_equals_that_of_torch(void **state)
{
    (void)state;
    train_all(LVLM_COMPUTE_F32);
}

/* Torch's is in float32: this is as close to it as that. */
static void so_does_training_in_double(void **state)
{
    (void)state;
    train_all(LVLM_COMPUTE_F64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_equals_that_of_torch),
        cmocka_unit_test(so_does_training_in_double),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
