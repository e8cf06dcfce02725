/* test_second_look.c - rounding is distinguished from a difference, even if a model
 * amplifies it.
 *
 *   a fixture that amplifies -> our own double as the recording
 *     -> replay in f32: beyond the band, by rounding
 *   double with inputs moved by their last bit as the recording
 *     -> replay in double: beyond the band, by rounding
 *   and neither if a value of the recording is wrong */
#include <float.h>
#include <stdio.h>
#include <string.h>

#include "formats/container/numeric.h"
#include "formats/container/safetensors.h"
#include "runtime/collect.h"
#include "tests/convert/converted.h"
#include "tests/support/scratch.h"
#include "verify/replay/replay.h"

#define FIXTURE LVLM_FIXTURES "/qwen2_vl-odd/"

enum { MOST = 64 };

typedef void change(unsigned char *bytes, const lvlm_tensor *tensor);

static void scale_and_shift(unsigned char *bytes, const lvlm_tensor *t, float scale,
                            float shift)
{
    assert_int_equal(t->dtype, LVLM_F32);
    for (uint64_t i = 0; i < lvlm_tensor_numel(t); i++) {
        float x;
        memcpy(&x, bytes + i * sizeof x, sizeof x);
        x = scale * x + shift;
        memcpy(bytes + i * sizeof x, &x, sizeof x);
    }
}

/* Scales queries: attention then decides between keys that are nearly equal. */
static void sharpen(unsigned char *bytes, const lvlm_tensor *t)
{
    scale_and_shift(bytes, t, 20, 0);
}

/* Shifts the patch projection: all channels have a large common offset, which the
 * connector's norm removes; only its rounding is left. */
static void shift(unsigned char *bytes, const lvlm_tensor *t)
{
    scale_and_shift(bytes, t, 1, 1e6f);
}

static size_t place_of(const lvlm_checkpoint *cp, const char *name)
{
    return (size_t)(lvlm_checkpoint_find(cp, name) - cp->tensors);
}

/* Every pixel moved by its last bit, every second one up. */
static void nudge_pixels(lvlm_checkpoint *cp)
{
    static double values[1 << 16];
    lvlm_tensor *const t = &cp->tensors[place_of(cp, "in.pixel_values")];
    const size_t n = (size_t)lvlm_tensor_numel(t);
    assert_true(n <= sizeof values / sizeof *values);
    lvlm_convert_values(values, LVLM_F64, t->data, t->dtype, n);
    for (size_t i = 0; i < n; i++)
        values[i] *= i % 2 == 0 ? 1 + DBL_EPSILON : 1 - DBL_EPSILON;
    t->data = (const unsigned char *)values;
    t->dtype = LVLM_F64;
    t->n_bytes = n * sizeof *values;
}

/* text.norm, a hundredth larger. */
static void enlarge(lvlm_tensor *t)
{
    static double norm[1 << 16];
    assert_string_equal(t->name, "out.text.norm");
    assert_true(t->n_bytes <= sizeof norm);
    memcpy(norm, t->data, (size_t)t->n_bytes);
    for (uint64_t i = 0; i < lvlm_tensor_numel(t); i++) norm[i] *= 1.01;
    t->data = (const unsigned char *)norm;
}

/* Records what the model computes in double, with `nudge` from moved pixels; with
 * `wrong` text.norm is recorded a hundredth larger. */
static void record(const char *model_path, const char *golden, bool nudge, bool wrong)
{
    const lvlm_model_options options = { .compute = LVLM_COMPUTE_F64,
                                         .threads = 2,
                                         .reference = "transformers-5.23.0" };
    lvlm_stage_list list = { .everything = true };
    const lvlm_stage_sink sink = lvlm_stage_list_sink(&list);
    lvlm_checkpoint *source = NULL;
    lvlm_model *model = NULL;
    lvlm_tensor tensors[MOST];
    char names[MOST][96];
    cJSON *const metadata = cJSON_CreateObject();
    lvlm_error err;
    size_t n = 0;
    if (lvlm_checkpoint_open(&source, FIXTURE "golden64.safetensors", NULL, &err) < 0 ||
        lvlm_model_open(&model, model_path, &options, &err) < 0)
        fail_msg("%s", err.text);
    const lvlm_tensor pixels = *lvlm_checkpoint_find(source, "in.pixel_values");
    if (nudge) nudge_pixels(source);
    if (lvlm_model_forward(model, source, "in.", &sink, &err) < 0)
        fail_msg("%s", err.text);
    source->tensors[place_of(source, "in.pixel_values")] = pixels;
    for (size_t i = 0; i < source->n_tensors; i++)
        if (strncmp(source->tensors[i].name, "in.", 3) == 0)
            tensors[n++] = source->tensors[i];
    for (size_t i = 0; i < list.n; i++) {
        (void)snprintf(names[n], sizeof names[n], "out.%s", list.stages[i].name);
        tensors[n] = list.stages[i];
        tensors[n].name = names[n];
        n++;
    }
    if (wrong) enlarge(&tensors[n - 3]);
    cJSON_AddStringToObject(metadata, "precision", "double");
    cJSON_AddStringToObject(metadata, "reference", options.reference);
    if (lvlm_safetensors_save(golden, tensors, n, metadata, true, &err) < 0)
        fail_msg("%s", err.text);
    lvlm_json_free(metadata);
    lvlm_model_free(model);
    lvlm_stage_list_free(&list);
    lvlm_checkpoint_close(source);
}

/* How many stages have that verdict. */
static size_t count(const lvlm_replay *r, lvlm_verdict verdict)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_stages; i++) n += r->stages[i].verdict == verdict;
    return n;
}

static void replay(lvlm_replay *r, const char *model, const char *golden,
                   lvlm_compute compute)
{
    const lvlm_replay_options options = { .compute = &compute, .threads = 2 };
    lvlm_error err;
    if (lvlm_replay_run(r, model, golden, &options, &err) < 0) fail_msg("%s", err.text);
}

typedef struct world {
    scratch scratch;
    char model[SCRATCH_PATH], golden[SCRATCH_PATH];
} world;

/* The fixture with the tensors that `glob` matches changed. */
static void make(world *w, const char *glob, change *how)
{
    char plain[SCRATCH_PATH];
    scratch_make(&w->scratch);
    (void)snprintf(plain, sizeof plain, "%s", scratch_path(&w->scratch, "plain.lvlm"));
    (void)snprintf(w->model, sizeof w->model, "%s",
                   scratch_path(&w->scratch, "model.lvlm"));
    (void)snprintf(w->golden, sizeof w->golden, "%s",
                   scratch_path(&w->scratch, "golden.safetensors"));
    native_convert(FIXTURE "model", plain);
    native_change(plain, glob, how, w->model);
}

static void amplified_rounding_of_float32_passes(void **state)
{
    world w;
    lvlm_replay r;
    (void)state;
    make(&w, "*.attn.q.weight", sharpen);
    record(w.model, w.golden, false, false);
    replay(&r, w.model, w.golden, LVLM_COMPUTE_F32);
    assert_true(count(&r, LVLM_VERDICT_ROUNDING) > 0);
    assert_int_equal(r.n_failed, 0);
    for (size_t i = 0; i < r.n_stages; i++) {
        const lvlm_replay_stage *const s = &r.stages[i];
        assert_int_equal(s->looked_again, s->verdict == LVLM_VERDICT_ROUNDING);
        if (!s->looked_again) continue;
        assert_true(s->recorded_error < 1e-12); /* it is our own double */
        assert_true(s->own_error > 1e-6 && s->error > s->band);
    }
    lvlm_replay_free(&r);
    record(w.model, w.golden, false, true);
    replay(&r, w.model, w.golden, LVLM_COMPUTE_F32);
    assert_int_equal(r.n_failed, 1);
    assert_string_equal(r.first_bad->name, "text.norm");
    assert_true(r.first_bad->looked_again);
    lvlm_replay_free(&r);
    scratch_remove(&w.scratch);
}

static void amplified_rounding_of_double_passes(void **state)
{
    world w;
    lvlm_replay r;
    (void)state;
    make(&w, "vision.patch.weight", shift);
    record(w.model, w.golden, true, false);
    replay(&r, w.model, w.golden, LVLM_COMPUTE_F64);
    assert_true(count(&r, LVLM_VERDICT_ROUNDING) > 0);
    assert_true(count(&r, LVLM_VERDICT_EXACT) > 0);
    assert_int_equal(r.n_failed, 0);
    lvlm_replay_free(&r);
    record(w.model, w.golden, true, true);
    replay(&r, w.model, w.golden, LVLM_COMPUTE_F64);
    assert_int_equal(r.n_failed, 1);
    assert_string_equal(r.first_bad->name, "text.norm");
    lvlm_replay_free(&r);
    scratch_remove(&w.scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(amplified_rounding_of_float32_passes),
        cmocka_unit_test(amplified_rounding_of_double_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
