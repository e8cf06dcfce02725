/* test_position_ids.c - position_ids of a batch: angles follow them, and texts are
 * split where the reference splits them.
 *
 * Right values: transformers 5.24.0, float32, eager, use_cache=False. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/replay/forwarded.h"
#include "tests/runtime/synthetic.h"
#include "tests/support/scratch.h"

enum { T = 10, SHOWN = 4 };

#define TOLERANCE 2e-4 /* observed 2e-5: values are given to five digits */

static const int64_t ids[2 * T] = { 5, 9, 17, 3, 22, 41, 7, 11, 30, 2,
                                    5, 9, 17, 3, 22, 41, 7, 11, 30, 2 };
static const int64_t ones[2 * T] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                     1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
static const int64_t types[T] = { 0, 0, 0, 0, 0, 0, 1, 1, 1, 1 };
#define RESTART 0, 1, 2, 3, 0, 1, 2, 3, 4, 5
#define ROWS                                                                           \
    0, 2, 4, 6, 0, 2, 4, 6, 8, 10, 0, 3, 6, 9, 0, 3, 6, 9, 12, 15, 1, 2, 3, 4, 1, 2,   \
        3, 4, 5, 6
static const int64_t restart[2 * T] = { RESTART, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 };
static const int64_t three[3 * T] = { ROWS };
static const int64_t four[4 * T] = { RESTART, ROWS };
static const int64_t spread[T] = { 0, 3, 6, 9, 12, 15, 18, 21, 24, 27 };

static const struct {
    const char *model;
    size_t B;
    bool mask, typed;
    lvlm_shape shape;
    const int64_t *positions;
    const char *note;        /* begins with it; "": there is none */
    double logits[2][SHOWN]; /* of tokens 3 and 9 of the first text */
} cases[] = {
    { "qwen2_vl-odd",
      1,
      false,
      false,
      { 3, { 4, 1, T } },
      four,
      "",
      { { -5.81653, -5.30392, -1.81171, -5.06774 },
        { -5.94722, -7.14296, 20.81476, -6.59093 } } },
    { "qwen2_vl-odd",
      1,
      true,
      false,
      { 3, { 4, 1, T } },
      four,
      "position_ids: start again within a row, which does not make texts of their own: "
      "with attention_mask",
      { { -5.81653, -5.30392, -1.81171, -5.06774 },
        { 0.95986, -0.4452, 12.19807, -6.59059 } } },
    { "qwen2_vl-odd",
      1,
      false,
      false,
      { 3, { 3, 1, T } },
      three,
      "position_ids: start again within a row, which does not make texts of their own: "
      "only the first axis",
      { { -5.81653, -5.30392, -1.81171, -5.06774 },
        { 0.95986, -0.4452, 12.19807, -6.59059 } } },
    { "qwen2_vl-odd",
      1,
      false,
      false,
      { 2, { 1, T } },
      restart,
      "position_ids: start again within a row, which does not make texts of their own: "
      "only the first axis",
      { { -6.32171, -5.66009, -1.15129, -4.68837 },
        { -1.44369, -2.4132, 10.32297, -5.40014 } } },
    { "mllama-odd",
      1,
      false,
      false,
      { 2, { 1, T } },
      restart,
      "",
      { { -1.03504, -1.9863, -0.27188, 0.20987 },
        { -0.59108, 0.28165, 2.0172, 0.79929 } } },
    { "mllama-odd",
      1,
      true,
      false,
      { 2, { 1, T } },
      restart,
      "position_ids: start again within a row, which does not make texts of their own: "
      "with attention_mask",
      { { -1.03504, -1.9863, -0.27188, 0.20987 },
        { -2.14662, -1.01843, 1.94109, 1.28957 } } },
    { "mllama-odd",
      2,
      false,
      false,
      { 2, { 2, T } },
      restart,
      "position_ids: start again within one of 2 rows",
      { { -1.03504, -1.9863, -0.27188, 0.20987 },
        { -0.59108, 0.28165, 2.0172, 0.79929 } } },
    { "paligemma-odd",
      1,
      true,
      true,
      { 2, { 1, T } },
      spread,
      "",
      { { -4.4575, 1.21019, 4.06098, 36.80555 },
        { -9.0792, 5.30028, 36.70149, 1.92579 } } },
    { "paligemma-odd",
      1,
      true,
      true,
      { 2, { 1, T } },
      restart,
      "position_ids: start again within a row, which does not make texts of their own: "
      "a prefix",
      { { -6.03017, 1.19822, 4.208, 37.52166 },
        { -6.27639, 7.86573, 36.39816, 2.64567 } } },
};

/* The logits of `inputs`. */
static lvlm_stage_list forward(const char *native, const lvlm_checkpoint *inputs,
                               lvlm_notes *notes)
{
    const lvlm_model_options options = { .threads = 2, .notes = notes };
    return must_forward(native, inputs, "", &options, false);
}

static void assert_row(const lvlm_stage_list *list, size_t row, const double *expected)
{
    const lvlm_tensor *const logits = lvlm_stage_list_find(list, "logits");
    const size_t V = (size_t)logits->shape.dims[2];
    for (size_t i = 0; i < SHOWN; i++) {
        float got;
        memcpy(&got, logits->data + sizeof got * (row * V + i), sizeof got);
        if (!(fabs(got - expected[i]) <= TOLERANCE))
            fail_msg("row %zu, logit %zu: %.5f, expected %.5f", row, i, (double)got,
                     expected[i]);
    }
}

static void angles_follow_and_texts_are_cut_as_the_reference_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char folder[256];
        scratch s;
        synthetic batch = { 0 };
        lvlm_notes notes = LVLM_NOTES_INIT;
        scratch_make(&s);
        snprintf(folder, sizeof folder, "%s/%s/model", LVLM_FIXTURES, cases[i].model);
        native_convert(folder, scratch_path(&s, "model.lvlm"));
        synthetic_put_integers(&batch, "input_ids", cases[i].B, T, ids);
        if (cases[i].mask)
            synthetic_put_integers(&batch, "attention_mask", cases[i].B, T, ones);
        if (cases[i].typed)
            synthetic_put_integers(&batch, "token_type_ids", 1, T, types);
        synthetic_put(&batch, "position_ids", LVLM_I64, &cases[i].shape,
                      cases[i].positions);
        lvlm_stage_list list =
            forward(scratch_path(&s, "model.lvlm"), &batch.checkpoint, &notes);
        assert_row(&list, 3, cases[i].logits[0]);
        assert_row(&list, 9, cases[i].logits[1]);
        assert_int_equal(notes.n, *cases[i].note != '\0');
        if (notes.n > 0)
            assert_memory_equal(notes.at[0], cases[i].note, strlen(cases[i].note));
        lvlm_stage_list_free(&list);
        lvlm_notes_free(&notes);
        synthetic_free(&batch);
        scratch_remove(&s);
    }
}

/* Texts with images: position_ids replace the positions that follow from the grids. */
static void positions_replace_those_of_the_grids(void **state)
{
    static const struct {
        size_t axes, step, first;
        double logits[SHOWN];
    } of[] = {
        { 3, 0, 0, { -1.45524, -1.91611, -3.76815, 2.15247 } },
        { 1, 2, 3, { 2.40174, -4.95678, 1.55712, -1.47673 } },
    };
    (void)state;
    for (size_t k = 0; k < sizeof of / sizeof *of; k++) {
        int64_t values[3 * 100];
        scratch s;
        synthetic batch = { 0 };
        lvlm_notes notes = LVLM_NOTES_INIT;
        lvlm_checkpoint *golden = NULL;
        lvlm_error err;
        scratch_make(&s);
        native_convert(LVLM_FIXTURES "/qwen2_vl-odd/model", scratch_path(&s, "m.lvlm"));
        if (lvlm_checkpoint_open(&golden,
                                 LVLM_FIXTURES "/qwen2_vl-odd/golden.safetensors", NULL,
                                 &err) < 0)
            fail_msg("%s", err.text);
        for (size_t i = 0; i < golden->n_tensors; i++)
            if (strncmp(golden->tensors[i].name, "in.", 3) == 0)
                synthetic_put(&batch, golden->tensors[i].name + 3,
                              golden->tensors[i].dtype, &golden->tensors[i].shape,
                              golden->tensors[i].data);
        for (size_t i = 0; i < 300; i++)
            values[i] = (int64_t)(i % 25 * of[k].step + of[k].first);
        const lvlm_shape three_axes = { 3, { 3, 4, 25 } }, plain = { 2, { 4, 25 } };
        synthetic_put(&batch, "position_ids", LVLM_I64,
                      of[k].axes == 3 ? &three_axes : &plain, values);
        lvlm_stage_list list =
            forward(scratch_path(&s, "m.lvlm"), &batch.checkpoint, &notes);
        assert_row(&list, 24, of[k].logits);
        assert_int_equal(notes.n, 0);
        lvlm_stage_list_free(&list);
        lvlm_checkpoint_close(golden);
        synthetic_free(&batch);
        scratch_remove(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(angles_follow_and_texts_are_cut_as_the_reference_does),
        cmocka_unit_test(positions_replace_those_of_the_grids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
