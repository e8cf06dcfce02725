/* test_clips.c - answers about videos, and a step of training on one, are those of the
 * reference.
 *
 *   fixtures/videos/FAMILY/cases.json      frames -> tensors -> greedy tokens
 *   fixtures/videos/FAMILY/trained.json    a line of training data -> loss, norm; in
 *                                          trained.safetensors, weights after a step */
#include <math.h>

#include "formats/container/numeric.h"
#include "runtime/generate/generate.h"
#include "runtime/tune/data/dataset.h"
#include "runtime/tune/trainer.h"
#include "tests/convert/converted.h"
#include "tests/runtime/prepare/video_cases.h"

/* Relative; gcc 12, OpenBLAS 0.3.21. */
#define BAND_LOSS 2e-6   /* observed 7.5e-8 */
#define BAND_NORM 1e-5   /* observed 1.9e-7 */
#define BAND_CHANGE 5e-4 /* of all weights together; observed 1.7e-5, by asan 1.5e-4 */

enum { MOST = 64 };

static const char *const families[] = { "qwen2_vl", "qwen2_5_vl" };

/* ---- answers -------------------------------------------------------------------- */

typedef struct heard {
    int64_t ids[MOST];
    size_t n;
} heard;

static int hear(void *user, int64_t id, lvlm_error *err)
{
    heard *const h = user;
    FAIL_IF(h->n == MOST, err, LVLM_ECHECK, "too many tokens");
    h->ids[h->n++] = id;
    return 0;
}

static int answer(heard *h, const run *r, lvlm_model *model, size_t most,
                  lvlm_error *err)
{
    const lvlm_token_sink sink = { hear, h };
    lvlm_session *session = NULL;
    lvlm_generation settings;
    lvlm_generated made;
    int rc = lvlm_generation_read(&settings, &r->manifest, err);
    settings.max_new_tokens = most;
    if (rc == 0)
        rc = lvlm_session_begin(&session, model, &r->inputs.batch, "", NULL, err);
    if (rc == 0) rc = lvlm_generate(&made, session, &settings, &sink, err);
    lvlm_session_end(session);
    return rc;
}

static void expect_answer(const cJSON *item, const char *family)
{
    const cJSON *const said = lvlm_json_get(item, "generated");
    const cJSON *const tokens = lvlm_json_get(said, "tokens");
    const lvlm_model_options options = { .threads = 2,
                                         .reference = case_text(said, "reference") };
    heard h = { .n = 0 };
    char what[256];
    lvlm_model *model = NULL;
    lvlm_error err;
    scratch s;
    run r;
    (void)snprintf(what, sizeof what, "%s: %s", family, case_text(item, "name"));
    scratch_make(&s);
    const char *const native = scratch_path(&s, "model.lvlm");
    const char *const source = video_case_model(&s, family, item);
    native_convert(source, native);
    open_model(&r, source);
    if (lvlm_model_open(&model, native, &options, &err) < 0 ||
        video_case_make(&r, item, LVLM_RESAMPLING_TORCHVISION, &err) < 0 ||
        answer(&h, &r, model, lvlm_json_count(tokens), &err) < 0)
        fail_msg("%s: %s", what, err.text);
    case_ids_are(h.ids, h.n, tokens, what);
    lvlm_model_free(model);
    finish(&r);
    close_model(&r);
    scratch_remove(&s);
}

static void answers_are_those_of_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        cJSON *const cases = cases_read("videos", families[i]);
        const cJSON *item;
        size_t n = 0;
        LVLM_JSON_ITEMS (item, cases) {
            if (lvlm_json_get(item, "generated") == NULL) continue;
            expect_answer(item, families[i]);
            n++;
        }
        assert_true(n >= 3);
        lvlm_json_free(cases);
    }
}

/* ---- training ------------------------------------------------------------------- */

static double number(const cJSON *json, const char *key)
{
    double value = NAN;
    (void)lvlm_json_double(&value, lvlm_json_get(json, key));
    return value;
}

static void is_near(const char *what, double got, double expected, double band)
{
    const double error = fabs(got - expected) / fabs(expected);
    if (!(error <= band))
        fail_msg("%s is %.9g, expected %.9g, %.1e away", what, got, expected, error);
}

static double value_of(const lvlm_tensor *t, uint64_t i)
{
    double value = NAN;
    lvlm_convert_values(&value, LVLM_F64, t->data + i * lvlm_dtype_bytes(t->dtype),
                        t->dtype, 1);
    return value;
}

/* How far the weights have gone, and how far from where they should be. */
static void compare(const char *family, const char *native, const char *tuned)
{
    char path[CASES_PATH];
    lvlm_checkpoint *before = NULL, *after = NULL, *expected = NULL;
    lvlm_manifest m;
    lvlm_error err;
    double apart = 0, moved = 0;
    size_t n = 0;
    (void)snprintf(path, sizeof path, "%s/trained.safetensors", family);
    if (lvlm_checkpoint_open(&before, native, NULL, &err) < 0 ||
        lvlm_checkpoint_open(&after, tuned, NULL, &err) < 0 ||
        lvlm_checkpoint_open(&expected, path, NULL, &err) < 0 ||
        lvlm_manifest_build(&m, after, &err) < 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < m.n_targets; i++) {
        const lvlm_tensor *const e =
            lvlm_checkpoint_find(expected, m.targets[i].source_name);
        const lvlm_tensor *const got = m.targets[i].here.tensor;
        if (e == NULL || got == NULL) continue;
        const lvlm_tensor *const was = lvlm_checkpoint_find(before, got->name);
        assert_int_equal(got->n_bytes, e->n_bytes);
        for (uint64_t k = 0; k < lvlm_tensor_numel(e); k++) {
            const double b = value_of(e, k);
            apart += pow(value_of(got, k) - b, 2);
            moved += pow(b - value_of(was, k), 2);
        }
        n++;
    }
    assert_int_equal(n, expected->n_tensors);
    is_near("the change of the weights, and its error", sqrt(moved) + sqrt(apart),
            sqrt(moved), BAND_CHANGE);
    lvlm_manifest_free(&m);
    lvlm_checkpoint_close(before);
    lvlm_checkpoint_close(after);
    lvlm_checkpoint_close(expected);
}

/* One step on a line of data; the model after it is in `tuned`. */
static void step(const cJSON *json, const char *native, const char *data,
                 const char *tuned)
{
    const lvlm_encoder_options encoding = { .images = "." };
    const lvlm_dataset_options reading = { .batch_size = 1 };
    lvlm_trainer_options options = { .adamw = { .lr = number(json, "lr"),
                                                .beta1 = 0.9,
                                                .beta2 = 0.999,
                                                .eps = 1e-8 },
                                     .clip = number(json, "clip"),
                                     .accumulate = 1,
                                     .schedule = { .steps = 1 },
                                     .model = { .threads = 2 } };
    lvlm_encoder *encoder = NULL;
    lvlm_dataset dataset;
    lvlm_dataset_batch *batch = NULL;
    lvlm_trainer trainer;
    lvlm_trainer_report report;
    lvlm_error err;
    assert_int_equal(lvlm_stage_parse(&options.stage, case_text(json, "stage"), NULL),
                     0);
    if (lvlm_encoder_open(&encoder, native, &encoding, &err) < 0 ||
        lvlm_dataset_open(&dataset, data, encoder, &reading, &err) < 0 ||
        lvlm_dataset_make(&batch, &dataset, 0, 1, &err) < 0 ||
        lvlm_trainer_open(&trainer, native, &options, &err) < 0 ||
        lvlm_trainer_add(&trainer, &batch->encoded->batch, &err) < 0 ||
        lvlm_trainer_step(&trainer, &report, &err) < 0)
        fail_msg("%s", err.text);
    is_near("the loss", report.loss, number(json, "loss"), BAND_LOSS);
    is_near("the norm", report.grad_norm, number(json, "grad_norm"), BAND_NORM);
    lvlm_outfile *const file = open_outfile(tuned);
    if (lvlm_trainer_save(&trainer, file, &err) < 0) fail_msg("%s", err.text);
    lvlm_outfile_close(file);
    lvlm_trainer_close(&trainer);
    lvlm_dataset_batch_free(batch);
    lvlm_dataset_close(&dataset);
    lvlm_encoder_close(encoder);
}

static void a_step_is_that_of_torch(void **state)
{
    const lvlm_import_options import = { .change_dtype = true, .dtype = LVLM_F32 };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char name[CASES_PATH];
        char *line = NULL;
        scratch s;
        (void)snprintf(name, sizeof name, "%s/trained.json", families[i]);
        cJSON *const json = fixture_json("videos", name);
        cJSON *const cases = cases_read("videos", families[i]);
        assert_int_equal(lvlm_json_print(&line, lvlm_json_get(json, "line"), NULL), 0);
        scratch_make(&s);
        const char *const native = scratch_path(&s, "model.lvlm");
        const char *const tuned = scratch_path(&s, "tuned.lvlm");
        scratch_write(&s, "line.json", line, strlen(line));
        native_convert_as(video_case_model(&s, families[i], lvlm_json_item(cases, 0)),
                          native, &import);
        step(json, native, scratch_path(&s, "line.json"), tuned);
        compare(families[i], native, tuned);
        scratch_remove(&s);
        lvlm_free(line);
        lvlm_json_free(cases);
        lvlm_json_free(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_of_the_reference),
        cmocka_unit_test(a_step_is_that_of_torch),
    };
    if (chdir(LVLM_FIXTURES "/videos") != 0) return 1; /* clips go by bare names */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
