/* test_signs.c - where the error of a stage is: a head, a row of a map, rows of images,
 * tiles and padding, by the names of the checkpoint.
 *
 *   values of a native file changed in a way that cannot be undone, or rows of a
 *   recorded stage -> replayed -> what is said of the error */
#include <math.h>

#include "tests/replay/recordings.h"
#include "verify/cause/cause.h"

#define Q2 "qwen2_vl-odd"

/* ---- weights --------------------------------------------------------------------- */

/* Values of a tensor in the native file, which are changed in place. */
typedef void change(double *x, size_t n, size_t columns);

static change *changing;

static void change_bytes(unsigned char *bytes, const lvlm_tensor *t)
{
    const size_t n = (size_t)lvlm_tensor_numel(t);
    double *const x = malloc(n * sizeof *x);
    assert_non_null(x);
    lvlm_convert_values(x, LVLM_F64, bytes, t->dtype, n);
    changing(x, n, n / (size_t)t->shape.dims[0]);
    lvlm_convert_values(bytes, t->dtype, x, LVLM_F64, n);
    free(x);
}

/* Rows [first, end), each value another way. */
static void spoil_rows(double *x, size_t columns, size_t first, size_t end)
{
    for (size_t i = first * columns; i < end * columns; i++)
        x[i] *= sin((double)(3 * i)) - 0.5;
}

static void lose_head_1_of_12(double *x, size_t n, size_t columns)
{
    assert_true(n >= 24 * columns);
    memset(x + 12 * columns, 0, 12 * columns * sizeof *x);
}

static void spoil_head_2_of_8(double *x, size_t n, size_t columns)
{
    assert_int_equal(n, 24 * columns);
    spoil_rows(x, columns, 16, 24);
}

static void spoil_head_0_of_8(double *x, size_t n, size_t columns)
{
    assert_int_equal(n, 24 * columns);
    spoil_rows(x, columns, 0, 8);
}

static void negate_7_3(double *x, size_t n, size_t columns)
{
    assert_true(n > 7 * columns + 3);
    x[7 * columns + 3] *= -1;
}

static void negate_value_5(double *x, size_t n, size_t columns)
{
    assert_true(n > 5 && columns == 1);
    x[5] *= -1;
}

static void spoil_all(double *x, size_t n, size_t columns)
{
    spoil_rows(x, columns, 0, n / columns);
}

typedef struct plant {
    const char *fixture, *tensor; /* native */
    change *change;
    const char *stage, *says;
} plant;

// clang-format off
static const plant plants[] = {
    { Q2, "text.blocks.1.attn.q.weight", lose_head_1_of_12, "text.blocks.1",
      "only head 1 of 3 is wrong: rows 12 to 23 of model.layers.1.self_attn.q_proj.weight" },
    { Q2, "vision.blocks.1.attn.k.weight", spoil_head_2_of_8, "vision.blocks.1",
      "only head 2 of 3 is wrong: rows 16 to 23 of visual.blocks.1.attn.qkv.weight or rows 40 to 47 there or rows 64 to 71 there" },
    { "mllama-odd", "text.blocks.1.cross.q.weight", spoil_head_0_of_8, "text.blocks.1",
      "only head 0 of 3 is wrong: rows 0 to 7 of language_model.model.layers.1.cross_attn.q_proj.weight" },
    { Q2, "text.blocks.1.attn.out.weight", negate_7_3, "text.blocks.1",
      "what attention adds is wrong in channel 7 of 36 alone: row 7 of model.layers.1.self_attn.o_proj.weight" },
    { Q2, "text.blocks.1.mlp.down.weight", negate_7_3, "text.blocks.1",
      "only channel 7 of 36 is wrong: row 7 of model.layers.1.mlp.down_proj.weight" },
    { Q2, "vision.blocks.0.mlp.fc2.weight", negate_7_3, "vision.blocks.0",
      "only channel 7 of 24 is wrong: row 7 of visual.blocks.0.mlp.fc2.weight, or a number in it, or that of visual.blocks.0.mlp.fc2.bias" },
    { Q2, "text.blocks.1.mlp.down.weight", negate_7_3, "text.blocks.1",
      "number 3 of row 7 of model.layers.1.mlp.down_proj.weight is 0.219447, and with -0.219447 in its place" },
    { Q2, "vision.blocks.0.mlp.fc2.weight", negate_7_3, "vision.blocks.0",
      "number 3 of row 7 of visual.blocks.0.mlp.fc2.weight is " },
    { Q2, "text.norm.weight", negate_value_5, "text.norm",
      "only channel 5 of 36 is wrong: value 5 of model.norm.weight" },
    { "paligemma2-odd", "text.blocks.0.post_mlp_norm.weight", negate_value_5, "text.blocks.0",
      "only channel 5 of 42 is wrong: value 5 of language_model.model.layers.0.post_feedforward_layernorm.weight" },
    { Q2, "connector.fc2.weight", negate_7_3, "connector.out",
      "only channel 7 of 36 is wrong: row 7 of visual.merger.mlp.2.weight" },
    { Q2, "vision.patch.weight", negate_7_3, "vision.patches",
      "only channel 7 of 24 is wrong: row 7 of visual.patch_embed.proj.weight" },
    { "mllama-odd", "text.head.weight", negate_7_3, "logits",
      "only channel 7 of 67 is wrong: row 7 of language_model.lm_head.weight" },
    /* all of it: no head is named */
    { Q2, "text.blocks.1.mlp.up.weight", spoil_all, "text.blocks.1", NULL },
    { Q2, "text.blocks.1.attn.q.weight", spoil_all, "text.blocks.1", NULL },
};
// clang-format on

static void check(const lvlm_replay *r, const char *what, const char *stage,
                  const char *text)
{
    if (r->cause == NULL || strcmp(r->cause->name, stage) != 0)
        fail_msg("%s: is of stage %s", what,
                 r->cause != NULL ? r->cause->name : "none");
    assert_non_null(r->why);
    const lvlm_cause *const c = r->why;
    const bool right = text != NULL
                           ? list_says(c->signs, c->n_signs, text)
                           : !list_says(c->signs, c->n_signs, "only head") &&
                                 !list_says(c->signs, c->n_signs, "attention adds");
    if (right) return;
    for (size_t i = 0; i < c->n_signs; i++) print_error("  %s\n", c->signs[i]);
    fail_msg("%s: does not say '%s'", what, text != NULL ? text : "(no head)");
}

static void convert(scratch *s, const char *fixture)
{
    char model[SCRATCH_PATH];
    (void)snprintf(model, sizeof model, LVLM_FIXTURES "/%s/model", fixture);
    native_convert(model, scratch_path(s, "model.lvlm"));
}

static void golden_of(char path[SCRATCH_PATH], const char *fixture)
{
    (void)snprintf(path, SCRATCH_PATH, LVLM_FIXTURES "/%s/golden64.safetensors",
                   fixture);
}

static void a_wrong_head_or_row_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof plants / sizeof *plants; i++) {
        const plant *const p = &plants[i];
        const lvlm_replay_options options = { .threads = 1 };
        char golden[SCRATCH_PATH];
        scratch s;
        lvlm_replay r;
        scratch_make(&s);
        convert(&s, p->fixture);
        changing = p->change;
        native_change(scratch_path(&s, "model.lvlm"), p->tensor, change_bytes,
                      scratch_path(&s, "wrong.lvlm"));
        golden_of(golden, p->fixture);
        must_replay(&r, scratch_path(&s, "wrong.lvlm"), golden, &options);
        check(&r, p->tensor, p->stage, p->says);
        lvlm_replay_free(&r);
        scratch_remove(&s);
    }
}

/* ---- rows ------------------------------------------------------------------------ */

/* Is row `row` of the stage one to be changed? */
typedef bool chooser(const recorded *r, size_t row);

static int64_t id_at(const recorded *r, size_t row)
{
    const lvlm_tensor *const t = lvlm_checkpoint_find(r->source, "in.input_ids");
    assert_int_equal(t->dtype, LVLM_I64);
    return ((const int64_t *)(const void *)t->data)[row];
}

/* Of llava-odd: 3 images of 4 rows each. */
static bool is_image(const recorded *r, size_t row)
{
    return id_at(r, row) == 110;
}

static bool is_word(const recorded *r, size_t row)
{
    return !is_image(r, row);
}

static bool is_image_1(const recorded *r, size_t row)
{
    size_t before = 0, all = 0;
    const size_t n =
        (size_t)lvlm_tensor_numel(lvlm_checkpoint_find(r->source, "in.input_ids"));
    for (size_t i = 0; i < n; i++) {
        all += is_image(r, i);
        before += i < row && is_image(r, i);
    }
    assert_true(all > 0 && all % 3 == 0);
    return is_image(r, row) && before / (all / 3) == 1;
}

/* Of mllama-odd: three texts, two places for images of four tiles of five rows, which
 * are padded to eight. */
static bool is_tile_1_of_image_0(const recorded *r, size_t row)
{
    (void)r;
    return row / 4 == 1; /* before the class row: four patches */
}

static bool is_filling(const recorded *r, size_t row)
{
    (void)r;
    return row % 8 >= 5;
}

typedef struct wrong_rows {
    const char *fixture, *stage;
    chooser *is_wrong;
    const char *says;
} wrong_rows;

// clang-format off
static const wrong_rows rows[] = {
    { "llava-odd", "text.embed", is_image, "the rows that are wrong are of images" },
    { "llava-odd", "text.embed", is_image_1, "the rows that are wrong are of image 1 of 3 (from 0)" },
    { "llava-odd", "text.embed", is_word, "the rows that are wrong are those of words, all of them: those of images are right" },
    { "llava-odd", "text.blocks.0", is_image_1, "the rows that are wrong are of image 1 of 3 (from 0)" },
    { "mllama-odd", "vision.patches", is_tile_1_of_image_0, "the rows that are wrong are all of tile 1 of image 0 of text 0" },
    { "mllama-odd", "vision.blocks.0", is_filling, "the rows that are wrong are padding (after the patches, or where there is no tile)" },
};
// clang-format on

static void spoil_stage(recorded *r, const char *stage, chooser *is_wrong)
{
    char name[64];
    (void)snprintf(name, sizeof name, "out.%s", stage);
    double *const x = recorded_values(r, name);
    const lvlm_tensor *const t = lvlm_checkpoint_find(r->source, name);
    const size_t C = (size_t)t->shape.dims[t->shape.n - 1];
    size_t n = 0;
    assert_int_equal(t->dtype, LVLM_F64);
    for (size_t row = 0; row < (size_t)lvlm_tensor_numel(t) / C; row++) {
        if (!is_wrong(r, row)) continue;
        n++;
        for (size_t c = 0; c < C; c++)
            x[row * C + c] += 0.1 * sin((double)(row * C + c));
    }
    assert_true(n > 0);
}

static void rows_of_images_and_tiles_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const wrong_rows *const w = &rows[i];
        const lvlm_replay_options options = { .threads = 1 };
        char golden[SCRATCH_PATH];
        scratch s;
        lvlm_replay r;
        recorded rec;
        scratch_make(&s);
        convert(&s, w->fixture);
        golden_of(golden, w->fixture);
        recorded_open(&rec, golden);
        spoil_stage(&rec, w->stage, w->is_wrong);
        recorded_save(&rec, scratch_path(&s, "golden.safetensors"));
        recorded_close(&rec);
        must_replay(&r, scratch_path(&s, "model.lvlm"),
                    scratch_path(&s, "golden.safetensors"), &options);
        check(&r, w->stage, w->stage, w->says);
        lvlm_replay_free(&r);
        scratch_remove(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_head_or_row_is_named),
        cmocka_unit_test(rows_of_images_and_tiles_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
