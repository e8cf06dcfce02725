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
#include "formats/container/numeric.h"
#include "runtime/tune/batches.h"
#include "runtime/tune/trainer.h"
#include "tests/convert/converted.h"
#include "tests/support/scratch.h"

#define FOLDER LVLM_FIXTURES "/train/"

/* Relative; gcc 12, OpenBLAS 0.3.21. */
#define BAND_LOSS 2e-6   /* observed 9.5e-8 */
#define BAND_NORM 1e-5   /* observed 3.1e-6 */
#define BAND_RATE 1e-12  /* observed 0 */
#define BAND_CHANGE 5e-5 /* of all weights together; observed 5.6e-6 */
#define BAND_BF16 1e-3   /* values that were rounded to another bf16; observed 1e-4 */

static cJSON *read_expected(void)
{
    lvlm_infile *file = NULL;
    cJSON *json = NULL;
    lvlm_error err;
    if (lvlm_infile_open(&file, FOLDER "expected.json", &err) < 0 ||
        lvlm_json_parse(&json, (const char *)file->bytes, (size_t)file->n_bytes, &err) <
            0)
        fail_msg("%s", err.text);
    lvlm_infile_close(file);
    return json;
}

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

static lvlm_trainer_options options_of(const cJSON *run)
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
                lvlm_trainer_add(t, batch.tensors, &err) < 0)
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

static double value_of(const lvlm_tensor *t, uint64_t i)
{
    double value = NAN;
    lvlm_convert_values(&value, LVLM_F64, t->data + i * lvlm_dtype_bytes(t->dtype),
                        t->dtype, 1);
    return value;
}

/* Adjacent values of bf16: a value near their middle may be rounded to either,
 * depending on the last bits of its sum, which depend on the processor. */
static bool are_neighbours(const lvlm_tensor *a, const lvlm_tensor *b, uint64_t i)
{
    if (a->dtype != LVLM_BF16) return false;
    const int x = a->data[2 * i] | a->data[2 * i + 1] << 8;
    const int y = b->data[2 * i] | b->data[2 * i + 1] << 8;
    return abs(x - y) == 1;
}

/* A bias of keys adds the same number to all scores of a query: its true gradient is 0,
 * and AdamW makes steps of the rounding. */
static bool has_no_slope(const char *name)
{
    return strstr(name, ".attn.k.bias") != NULL;
}

/* Compares how far the weights moved with how far they are from the expected ones. */
static void compare(const char *name, const char *native, const char *tuned)
{
    char path[SCRATCH_PATH];
    lvlm_checkpoint *before = NULL, *after = NULL, *expected = NULL;
    lvlm_manifest m;
    lvlm_error err;
    double apart = 0, moved = 0;
    size_t n_tensors = 0, n_other = 0, n = 0;
    (void)snprintf(path, sizeof path, FOLDER "%s.safetensors", name);
    if (lvlm_checkpoint_open(&before, native, NULL, &err) < 0 ||
        lvlm_checkpoint_open(&after, tuned, NULL, &err) < 0 ||
        lvlm_checkpoint_open(&expected, path, NULL, &err) < 0 ||
        lvlm_manifest_build(&m, after, &err) < 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < m.n_targets; i++) {
        const lvlm_tensor *const e =
            lvlm_checkpoint_find(expected, m.targets[i].source_name);
        if (e == NULL || m.targets[i].here.tensor == NULL) continue;
        const lvlm_tensor *const got = m.targets[i].here.tensor;
        const lvlm_tensor *const was = lvlm_checkpoint_find(before, got->name);
        n_tensors++;
        if (has_no_slope(got->name)) continue;
        assert_int_equal(got->dtype, e->dtype);
        assert_int_equal(got->n_bytes, e->n_bytes);
        for (uint64_t k = 0; k < lvlm_tensor_numel(e); k++, n++) {
            const double a = value_of(got, k), b = value_of(e, k), w = value_of(was, k);
            if (!are_neighbours(got, e, k)) apart += (a - b) * (a - b);
            moved += (b - w) * (b - w);
            n_other += a != b;
        }
    }
    assert_int_equal(n_tensors, expected->n_tensors);
    if (!(sqrt(apart / moved) <= BAND_CHANGE))
        fail_msg("%s: the weights' change is %.1e away", name, sqrt(apart / moved));
    if (expected->tensors[0].dtype == LVLM_BF16 &&
        !((double)n_other <= BAND_BF16 * (double)n))
        fail_msg("%s: %zu of %zu values are others", name, n_other, n);
    lvlm_manifest_free(&m);
    lvlm_checkpoint_close(before);
    lvlm_checkpoint_close(after);
    lvlm_checkpoint_close(expected);
}

static void train(const cJSON *run, scratch *s, lvlm_dtype dtype)
{
    const char *const native = scratch_path(s, "model.lvlm");
    const char *const tuned = scratch_path(s, "tuned.lvlm");
    const lvlm_import_options import = { .change_dtype = true, .dtype = dtype };
    const lvlm_trainer_options options = options_of(run);
    lvlm_batch_source source;
    lvlm_trainer trainer;
    lvlm_error err;
    native_convert_as(LVLM_FIXTURES "/paligemma-layouts/hub", native, &import);
    if (lvlm_batches_open(&source, FOLDER "batches", false, 0, &err) < 0 ||
        lvlm_trainer_open(&trainer, native, &options, &err) < 0)
        fail_msg("%s", err.text);
    take_steps(&trainer, run, &source);
    lvlm_outfile *const file = open_outfile(tuned);
    if (lvlm_trainer_save(&trainer, file, &err) < 0) fail_msg("%s", err.text);
    lvlm_outfile_close(file);
    compare(run->string, native, tuned);
    lvlm_trainer_close(&trainer);
    lvlm_batch_source_close(&source);
}

static void training_equals_that_of_torch(void **state)
{
    cJSON *const expected = read_expected();
    const cJSON *run;
    size_t n = 0;
    (void)state;
    LVLM_JSON_MEMBERS (run, expected) {
        scratch s;
        scratch_make(&s);
        train(run, &s, strcmp(run->string, "bf16") == 0 ? LVLM_BF16 : LVLM_F32);
        scratch_remove(&s);
        n++;
    }
    assert_int_equal(n, 3);
    lvlm_json_free(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_equals_that_of_torch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
