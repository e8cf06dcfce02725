/* test_forward_golden.c - the forward pass against recorded references, stage by stage.
 *
 *   fixtures/NAME/model + golden.safetensors (f32), golden64.safetensors (f64)
 *       -> forward over in.* -> each stage against out.*: relative L2, real tokens only
 *
 * Weights are bound straight from the Hugging Face directory. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/bytes.h"
#include "formats/base/json.h"
#include "formats/container/numeric.h"
#include "runtime/model.h"

/* Relative L2; gcc 12, OpenBLAS 0.3.21. */
#define BAND_F32 1e-5  /* observed 6.4e-7 */
#define BAND_F64 1e-12 /* observed 2.0e-15 */

/* The sink: compares and keeps nothing. */
typedef struct comparison {
    const lvlm_checkpoint *golden;
    double band;
    size_t n_compared;
    size_t n_outside;
    char first_outside[64];
} comparison;

static double element(const lvlm_tensor *t, uint64_t i)
{
    double value = 0;
    const size_t bytes = lvlm_dtype_bytes(t->dtype);
    lvlm_convert_values(&value, LVLM_F64, t->data + i * bytes, t->dtype, 1);
    return value;
}

static const lvlm_tensor *find(const lvlm_checkpoint *golden, const char *prefix,
                               const char *name)
{
    char full[128];
    (void)snprintf(full, sizeof full, "%s%s", prefix, name);
    return lvlm_checkpoint_find(golden, full);
}

/* Does row `row` of a stage belong to a padding token? */
static bool is_padding(const lvlm_checkpoint *golden, const char *stage, uint64_t row)
{
    const lvlm_tensor *const mask = find(golden, "in.", "attention_mask");
    const bool text = strncmp(stage, "text.", 5) == 0 || strcmp(stage, "logits") == 0;
    return text && mask != NULL && lvlm_load_le(mask->data + 8 * row, 8) == 0;
}

static double relative_l2(const lvlm_tensor *got, const lvlm_tensor *want,
                          const lvlm_checkpoint *golden)
{
    const size_t n = got->shape.n;
    const uint64_t width = n > 0 ? got->shape.dims[n - 1] : 1;
    double difference = 0, norm = 0;
    for (uint64_t i = 0; i < lvlm_tensor_numel(got); i++) {
        if (is_padding(golden, got->name, i / width)) continue;
        const double a = element(got, i), b = element(want, i);
        difference += (a - b) * (a - b);
        norm += b * b;
    }
    return sqrt(difference / norm);
}

static int compare(void *user, const lvlm_tensor *stage, lvlm_error *err)
{
    comparison *const c = user;
    const lvlm_tensor *const want = find(c->golden, "out.", stage->name);
    FAIL_IF(want == NULL || !lvlm_shape_equal(&want->shape, &stage->shape), err,
            LVLM_ECHECK, "%s: not recorded, or in another shape", stage->name);
    const double distance = relative_l2(stage, want, c->golden);
    c->n_compared++;
    if (distance <= c->band) return 0;
    if (c->n_outside++ == 0)
        (void)snprintf(c->first_outside, sizeof c->first_outside, "%s", stage->name);
    return 0;
}

static bool is_recorded(void *user, const char *name)
{
    return find(((const comparison *)user)->golden, "out.", name) != NULL;
}

static size_t n_recorded(const lvlm_checkpoint *golden)
{
    size_t n = 0;
    for (size_t i = 0; i < golden->n_tensors; i++)
        n += strncmp(golden->tensors[i].name, "out.", 4) == 0;
    return n;
}

typedef struct golden_case {
    const char *fixture;
    const char *file;
    lvlm_compute compute;
    double band;
} golden_case;

/* Compare a case as `reference`; NULL: as the golden says. */
static void replay(comparison *c, const golden_case *which, const char *reference)
{
    char directory[512], file[512];
    lvlm_checkpoint *source = NULL, *golden = NULL;
    lvlm_manifest manifest;
    lvlm_model *model = NULL;
    lvlm_error err = { .text = "" };
    (void)snprintf(directory, sizeof directory, LVLM_FIXTURES "/%s/model",
                   which->fixture);
    (void)snprintf(file, sizeof file, LVLM_FIXTURES "/%s/%s", which->fixture,
                   which->file);
    if (lvlm_checkpoint_open(&source, directory, NULL, &err) < 0 ||
        lvlm_checkpoint_open(&golden, file, NULL, &err) < 0 ||
        lvlm_manifest_build(&manifest, source, &err) < 0)
        fail_msg("%s", err.text);
    if (reference == NULL)
        reference = lvlm_json_string(lvlm_json_get(golden->metadata, "reference"));
    *c = (comparison){ .golden = golden, .band = which->band };
    const lvlm_model_options options = { which->compute, 2, reference };
    const lvlm_stage_sink sink = { compare, is_recorded, c };
    if (lvlm_model_bind(&model, &manifest, &options, &err) < 0 ||
        lvlm_model_forward(model, golden, "in.", &sink, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(c->n_compared, n_recorded(golden));
    lvlm_model_free(model);
    lvlm_manifest_free(&manifest);
    lvlm_checkpoint_close(golden);
    lvlm_checkpoint_close(source);
}

static void forward_agrees_with_the_reference(void **state)
{
    static const char *const fixtures[] = {
        "paligemma-long",  "paligemma-odd",  "paligemma-untied",
        "paligemma2-bf16", "paligemma2-odd",
    };
    (void)state;
    for (size_t i = 0; i < 2 * sizeof fixtures / sizeof *fixtures; i++) {
        const bool twin = i % 2 == 1;
        const golden_case which = {
            fixtures[i / 2], twin ? "golden64.safetensors" : "golden.safetensors",
            twin ? LVLM_COMPUTE_F64 : LVLM_COMPUTE_F32, twin ? BAND_F64 : BAND_F32
        };
        comparison c;
        replay(&c, &which, NULL);
        if (c.n_outside != 0)
            fail_msg("%s/%s: %zu of %zu stages outside, first %s", which.fixture,
                     which.file, c.n_outside, c.n_compared, c.first_outside);
    }
}

/* The recording caps its logits and training did not: exactly that must show. */
static void forward_as_trained_differs_where_the_family_says(void **state)
{
    const golden_case which = { "paligemma2-odd", "golden64.safetensors",
                                LVLM_COMPUTE_F64, BAND_F64 };
    comparison c;
    (void)state;
    replay(&c, &which, LVLM_REFERENCE_TRAINED);
    assert_int_equal(c.n_outside, 2); /* logits and loss */
    assert_string_equal(c.first_outside, "logits");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_agrees_with_the_reference),
        cmocka_unit_test(forward_as_trained_differs_where_the_family_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
