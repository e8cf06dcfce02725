/* test_text_only.c - as trained, tokens that attend to no image are computed as if
 * there were none. Needs no recording.
 *
 *   mllama-odd, forward with images and without -> rows before the first image: the
 *   same bits; not so with versions of the reference */
#include <string.h>

#include "tests/replay/forwarded.h"
#include "tests/support/scratch.h"

#define FIXTURE LVLM_FIXTURES "/mllama-odd/"

/* A view of `golden` without pixels; `by_name` has room for all. */
static lvlm_checkpoint without_images(const lvlm_checkpoint *golden,
                                      const lvlm_tensor **by_name)
{
    lvlm_checkpoint view = *golden;
    view.by_name = by_name;
    view.n_tensors = 0;
    for (size_t i = 0; i < golden->n_tensors; i++)
        if (strcmp(golden->by_name[i]->name, "in.pixel_values") != 0)
            by_name[view.n_tensors++] = golden->by_name[i];
    return view;
}

static lvlm_stage_list forward(const char *native, const lvlm_checkpoint *inputs,
                               const char *reference)
{
    const lvlm_model_options options = { .threads = 2, .reference = reference };
    return must_forward(native, inputs, "in.", &options, false);
}

/* Does the token of this cell attend to a tile? */
static bool attends(const lvlm_tensor *mask, size_t cell)
{
    const size_t places = (size_t)(mask->shape.dims[2] * mask->shape.dims[3]);
    for (size_t i = 0; i < 8 * places; i++)
        if (mask->data[8 * places * cell + i] != 0) return true;
    return false;
}

/* Counts the rows of real tokens before the first that attends to an image, and how
 * many of them have the same logits in both runs. */
static void count(size_t *n, size_t *n_same, const lvlm_checkpoint *golden,
                  const lvlm_stage_list *seen, const lvlm_stage_list *blind)
{
    const lvlm_tensor *x = lvlm_stage_list_find(seen, "logits");
    const lvlm_tensor *y = lvlm_stage_list_find(blind, "logits");
    const lvlm_tensor *mask = lvlm_checkpoint_find(golden, "in.cross_attention_mask");
    const lvlm_tensor *real = lvlm_checkpoint_find(golden, "in.attention_mask");
    const size_t B = (size_t)x->shape.dims[0], T = (size_t)x->shape.dims[1];
    const size_t row = (size_t)x->n_bytes / (B * T);
    *n = *n_same = 0;
    for (size_t b = 0; b < B; b++)
        for (size_t t = 0; t < T && !attends(mask, b * T + t); t++) {
            const size_t cell = b * T + t;
            if (real->data[8 * cell] == 0) continue;
            ++*n;
            *n_same += memcmp(x->data + cell * row, y->data + cell * row, row) == 0;
        }
}

static void rows_without_images_equal_those_of_the_text_by_itself(void **state)
{
    scratch scratch_dir, *const s = &scratch_dir;
    (void)state;
    scratch_make(s);
    const lvlm_tensor *by_name[128];
    lvlm_checkpoint *golden = NULL;
    lvlm_error err;
    const char *native = scratch_path(s, "model.lvlm");
    native_convert(FIXTURE "model", native);
    if (lvlm_checkpoint_open(&golden, FIXTURE "golden.safetensors", NULL, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(golden->n_tensors < 128);
    const lvlm_checkpoint blind_inputs = without_images(golden, by_name);
    static const char *const references[] = { "trained", "transformers-5.23.0" };
    for (size_t i = 0; i < 2; i++) {
        lvlm_stage_list seen = forward(native, golden, references[i]);
        lvlm_stage_list blind = forward(native, &blind_inputs, references[i]);
        size_t n, n_same;
        count(&n, &n_same, golden, &seen, &blind);
        assert_true(n >= 5);
        assert_int_equal(n_same, i == 0 ? n : 0);
        lvlm_stage_list_free(&seen);
        lvlm_stage_list_free(&blind);
    }
    lvlm_checkpoint_close(golden);
    scratch_remove(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_without_images_equal_those_of_the_text_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
