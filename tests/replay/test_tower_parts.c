/* test_tower_parts.c - a tower that takes its images in parts, as it does when nobody
 * asks for its stages and it is not trained, computes what it computes from all at
 * once; images that no text sees are left out. */
#include <math.h>

#include "runtime/collect.h"
#include "runtime/tune/stage.h"
#include "tests/replay/recordings.h"
#include "tests/runtime/synthetic_run.h"
#include "tests/support/scratch.h"

/* ---- many patches ---------------------------------------------------------------- */

enum { TEXTS = 3, PATCHES = 46 * 46, TOKENS = PATCHES + 3, IMAGE = 90, IGNORED = -100 };

/* Each of these images is a part. */
static const char config[] =
    "{\"model_type\": \"paligemma\", \"image_token_index\": 90, \"vision_config\": {"
    "\"hidden_size\": 24, \"num_hidden_layers\": 1, \"num_attention_heads\": 2,"
    "\"intermediate_size\": 40, \"image_size\": 92, \"patch_size\": 2},"
    "\"text_config\": {\"model_type\": \"gemma\", \"hidden_size\": 32,"
    "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"num_key_value_heads\": 1,"
    "\"intermediate_size\": 40, \"head_dim\": 16, \"vocab_size\": 80}}";

static void put_batch(synthetic *s)
{
    static const lvlm_shape pixels = { 4, { TEXTS, 3, 92, 92 } };
    static int64_t ids[TEXTS * TOKENS], mask[TEXTS * TOKENS], labels[TEXTS * TOKENS];
    uint32_t state = 7;
    for (int i = 0; i < TEXTS * TOKENS; i++) {
        const bool image = i % TOKENS < PATCHES;
        mask[i] = 1;
        ids[i] = image ? IMAGE : 2 + i % 70;
        labels[i] = image ? IGNORED : ids[i];
    }
    synthetic_put_integers(s, "input_ids", TEXTS, TOKENS, ids);
    synthetic_put_integers(s, "attention_mask", TEXTS, TOKENS, mask);
    synthetic_put_integers(s, "labels", TEXTS, TOKENS, labels);
    synthetic_put_random(s, "pixel_values", &pixels, 1.0f, &state);
}

static double loss_in(const lvlm_stage_list *list)
{
    const lvlm_tensor *const loss = lvlm_stage_list_find(list, "loss");
    double value;
    assert_non_null(loss);
    assert_int_equal(loss->dtype, LVLM_F64);
    memcpy(&value, loss->data, sizeof value);
    return value;
}

static void parts_compute_what_the_whole_does(void **state)
{
    const lvlm_model_options options = { .compute = LVLM_COMPUTE_F64, .threads = 2 };
    synthetic model = { .manifest = { 0 } }, batch = { .manifest = { 0 } };
    (void)state;
    synthetic_model(&model, config);
    put_batch(&batch);
    lvlm_stage_list whole = synthetic_run(&model, &batch, &options, true);
    lvlm_stage_list parts = synthetic_run(&model, &batch, &options, false);
    const lvlm_tensor *const a = lvlm_stage_list_find(&whole, "logits");
    const lvlm_tensor *const b = lvlm_stage_list_find(&parts, "logits");
    double worst = 0;
    assert_int_equal(a->n_bytes, b->n_bytes);
    for (size_t i = 0; i < a->n_bytes / sizeof(double); i++)
        worst = fmax(worst, fabs(((const double *)(const void *)a->data)[i] -
                                 ((const double *)(const void *)b->data)[i]));
    assert_true(worst < 1e-12 /* observed 0; logits are about 1 */);
    assert_true(fabs(loss_in(&whole) - loss_in(&parts)) < 1e-12);
    lvlm_stage_list_free(&whole);
    lvlm_stage_list_free(&parts);
    synthetic_free(&batch);
    synthetic_free(&model);
}

/* ---- images that nobody sees ----------------------------------------------------- */

/* The gradients of a connector that is trained by itself: in the test's arrays, as the
 * model is freed. */
static float *connector_gradient(const char *model, const lvlm_checkpoint *golden,
                                 size_t *n)
{
    static const char name[] = "connector.proj.weight";
    lvlm_stage stage = LVLM_STAGE_CONNECTOR;
    const lvlm_model_options options = { .threads = 2,
                                         .trains = lvlm_stage_trains,
                                         .user = &stage };
    lvlm_model *m = NULL;
    lvlm_model_step step;
    lvlm_tensor gradient;
    lvlm_error err;
    if (lvlm_model_open(&m, model, &options, &err) < 0 ||
        lvlm_model_backward(m, &step, golden, "in.", 0, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(lvlm_model_gradient(m, &gradient, name));
    *n = (size_t)lvlm_tensor_numel(&gradient);
    float *const copy = malloc(*n * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, gradient.data, *n * sizeof *copy);
    lvlm_model_free(m);
    return copy;
}

/* The second image of the second text of mllama-odd is absent. Its pixels are so large
 * that no feature of it would be a number, and 0 times that would not be 0. */
static void absent_images_are_not_computed(void **state)
{
    static const char source[] = LVLM_FIXTURES "/mllama-odd/golden.safetensors";
    scratch s;
    recorded rec;
    size_t n, n_spoilt;
    (void)state;
    scratch_make(&s);
    native_convert(LVLM_FIXTURES "/mllama-odd/model", scratch_path(&s, "model.lvlm"));
    recorded_open(&rec, source);
    const lvlm_tensor *const pixels =
        lvlm_checkpoint_find(rec.source, "in.pixel_values");
    const size_t M = (size_t)pixels->shape.dims[1];
    const size_t image =
        (size_t)(lvlm_tensor_numel(pixels) / pixels->shape.dims[0] / M);
    float *const values = recorded_values(&rec, "in.pixel_values");
    assert_int_equal(pixels->dtype, LVLM_F32);
    assert_int_equal(M, 2);
    for (size_t i = 0; i < image; i++) values[(1 * M + 1) * image + i] = 3e38f;
    recorded_save(&rec, scratch_path(&s, "spoilt.safetensors"));
    lvlm_checkpoint *const spoilt = must_open(scratch_path(&s, "spoilt.safetensors"));
    float *const a = connector_gradient(scratch_path(&s, "model.lvlm"), rec.source, &n);
    float *const b =
        connector_gradient(scratch_path(&s, "model.lvlm"), spoilt, &n_spoilt);
    assert_int_equal(n, n_spoilt);
    assert_memory_equal(a, b, n * sizeof *a);
    free(a);
    free(b);
    lvlm_checkpoint_close(spoilt);
    recorded_close(&rec);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_compute_what_the_whole_does),
        cmocka_unit_test(absent_images_are_not_computed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
