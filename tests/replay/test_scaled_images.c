/* test_scaled_images.c - before 5.4 the reference multiplies image rows by the factor
 * of Gemma's words. Needs no recording.
 *
 *   llava-gemma2, as trained and with a version -> text.embed: the same rows of words;
 *   image rows differ by sqrt(hidden) */
#include <math.h>

#include "tests/replay/forwarded.h"
#include "tests/support/scratch.h"

#define FIXTURE LVLM_FIXTURES "/llava-gemma2/"
#define ROUNDED 1e-15 /* observed 4e-16 */

static lvlm_stage_list forward(const char *native, const lvlm_checkpoint *inputs,
                               const char *reference)
{
    const lvlm_model_options options = { .compute = LVLM_COMPUTE_F64,
                                         .threads = 2,
                                         .reference = reference };
    return must_forward(native, inputs, "in.", &options, true);
}

/* The factor between two runs of a token's row; all of it has the same. Padding: 1. */
static double factor_of(const lvlm_tensor *a, const lvlm_tensor *b, size_t row)
{
    const size_t C = (size_t)a->shape.dims[a->shape.n - 1];
    const double *const x = (const double *)(const void *)a->data + row * C;
    const double *const y = (const double *)(const void *)b->data + row * C;
    const double factor = x[0] == 0 ? 1 : y[0] / x[0];
    for (size_t i = 0; i < C; i++)
        assert_true(fabs(y[i] - factor * x[i]) <= ROUNDED * fabs(y[i]));
    return factor;
}

static void image_rows_are_scaled_before_5_4(void **state)
{
    scratch scratch_dir, *const s = &scratch_dir;
    lvlm_checkpoint *const golden = must_open(FIXTURE "golden64.safetensors");
    const lvlm_tensor *const ids = lvlm_checkpoint_find(golden, "in.input_ids");
    const size_t n = (size_t)lvlm_tensor_numel(ids);
    size_t n_scaled = 0, n_same = 0;
    (void)state;
    scratch_make(s);
    const char *const native = scratch_path(s, "model.lvlm");
    native_convert(FIXTURE "model", native);
    lvlm_stage_list trained = forward(native, golden, "trained");
    lvlm_stage_list later = forward(native, golden, "transformers-5.4.0");
    lvlm_stage_list earlier = forward(native, golden, "transformers-5.3.0");
    const lvlm_tensor *const x = lvlm_stage_list_find(&trained, "text.embed");
    const lvlm_tensor *const same = lvlm_stage_list_find(&later, "text.embed");
    const lvlm_tensor *const y = lvlm_stage_list_find(&earlier, "text.embed");
    const double scale = sqrt((double)x->shape.dims[x->shape.n - 1]);
    assert_memory_equal(x->data, same->data, x->n_bytes);
    for (size_t row = 0; row < n; row++) {
        const double factor = factor_of(x, y, row);
        assert_true(factor == 1 || fabs(factor / scale - 1) < ROUNDED);
        *(factor == 1 ? &n_same : &n_scaled) += 1;
    }
    assert_true(n_scaled > 0 && n_same > 0);
    lvlm_stage_list_free(&trained), lvlm_stage_list_free(&later);
    lvlm_stage_list_free(&earlier);
    lvlm_checkpoint_close(golden);
    scratch_remove(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(image_rows_are_scaled_before_5_4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
