/* test_clips.c - answers about videos, and a step of training on one, are those of the
 * reference.
 *
 *   fixtures/videos/FAMILY/cases.json      frames -> tensors -> greedy tokens
 *   fixtures/videos/FAMILY/trained.json    a line of training data -> loss, norm; in
 *                                          trained.safetensors, weights after a step */
#include <math.h>

#include "runtime/generate/generate.h"
#include "runtime/tune/data/dataset.h"
#include "runtime/tune/trainer.h"
#include "tests/replay/trained_weights.h"
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

static void compare(const char *family, const char *native, const char *tuned)
{
    char path[CASES_PATH];
    (void)snprintf(path, sizeof path, "%s/trained.safetensors", family);
    const weights_change c = weights_compare(native, tuned, path);
    if (!(c.error <= BAND_CHANGE))
        fail_msg("%s: the weights' change is %.1e away", family, c.error);
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
        lvlm_trainer_add(&trainer, &batch->encoded->batch, "", &err) < 0 ||
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
    /* cases name clips of this folder */
    if (chdir(LVLM_FIXTURES "/videos") != 0) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
