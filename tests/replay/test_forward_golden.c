/* test_forward_golden.c - the forward pass compared with recorded references, by stage.
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
#include "tests/support/fixture_model.h"
#include "tests/support/fixtures.h"

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
    if (!text || mask == NULL) return false;
    const size_t bytes = lvlm_dtype_bytes(mask->dtype);
    return lvlm_load_le(mask->data + bytes * row, bytes) == 0;
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

/* Compare a recording as `reference`, by default its own. False: the checkpoint has
 * tensors that only a native file stores as the model reads them. */
static bool replay(comparison *c, const fixture *f, const char *path,
                   const char *reference)
{
    lvlm_checkpoint *golden = NULL;
    fixture_model source;
    lvlm_model *model = NULL;
    lvlm_error err = { .text = "" };
    fixture_model_open(&source, LVLM_FIXTURES, f->name);
    if (lvlm_checkpoint_open(&golden, path, NULL, &err) < 0) fail_msg("%s", err.text);
    const bool twin = path == f->golden64;
    if (reference == NULL)
        reference = lvlm_json_string(lvlm_json_get(golden->metadata, "reference"));
    *c = (comparison){ .golden = golden, .band = twin ? BAND_F64 : BAND_F32 };
    const lvlm_model_options options = { twin ? LVLM_COMPUTE_F64 : LVLM_COMPUTE_F32, 2,
                                         reference };
    const lvlm_stage_sink sink = { .take = compare, .wants = is_recorded, .user = c };
    const int rc = lvlm_model_bind(&model, &source.manifest, &options, &err);
    if ((rc < 0 && strstr(err.text, "convert") == NULL) ||
        (rc == 0 && lvlm_model_forward(model, golden, "in.", &sink, &err) < 0))
        fail_msg("%s: %s", f->name, err.text);
    if (rc == 0) assert_int_equal(c->n_compared, n_recorded(golden));
    lvlm_model_free(model);
    fixture_model_close(&source);
    lvlm_checkpoint_close(golden);
    return rc == 0;
}

static void forward_agrees_with_the_reference(void **state)
{
    fixtures all;
    size_t n = 0;
    (void)state;
    fixtures_open(&all);
    for (size_t i = 0; i < 2 * all.n; i++) {
        const fixture *const f = &all.at[i / 2];
        const char *const path = i % 2 == 1 ? f->golden64 : f->golden;
        comparison c;
        if (!replay(&c, f, path, NULL)) continue;
        if (c.n_outside != 0)
            fail_msg("%s: %zu of %zu stages outside, first %s", path, c.n_outside,
                     c.n_compared, c.first_outside);
        n++;
    }
    assert_true(n >= 10);
    fixtures_close(&all);
}

/* The recording caps its logits and training did not: only logits and loss differ. */
static void forward_as_trained_differs_where_the_family_says(void **state)
{
    fixtures all;
    comparison c = { .n_compared = 0 };
    (void)state;
    fixtures_open(&all);
    for (size_t i = 0; i < all.n; i++)
        if (strcmp(all.at[i].name, "paligemma2-odd") == 0)
            assert_true(
                replay(&c, &all.at[i], all.at[i].golden64, LVLM_REFERENCE_TRAINED));
    assert_int_equal(c.n_outside, 2); /* logits and loss */
    assert_string_equal(c.first_outside, "logits");
    fixtures_close(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_agrees_with_the_reference),
        cmocka_unit_test(forward_as_trained_differs_where_the_family_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
