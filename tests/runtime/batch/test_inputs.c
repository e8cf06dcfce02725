/* test_inputs.c - a valid batch, and every way in which a batch can be invalid. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/batch/inputs.h"
#include "tests/runtime/synthetic.h"

/* Two texts of three tokens, one image of two rows. The image token is beyond the
 * vocabulary. */
static const lvlm_input_spec spec = {
    .vocab = 50,
    .embed_rows = 50,
    .image_token = 60,
    .video_token = -1,
    .splice = LVLM_SPLICE_IMAGE_TOKENS,
    .images = { .form = LVLM_IMAGES_SQUARES,
                .channels = 1,
                .side = 2,
                .patch = 2,
                .merge = 1,
                .tiles = 1,
                .class_rows = 1 },
    .rows = { .pool = 1, .class_rows = 1 },
};

static void put_good(synthetic *s)
{
    static const int64_t ids[6] = { 60, 60, 7, 1, 49, 0 };
    static const int64_t mask[6] = { 1, 1, 1, 1, 1, 0 };
    static const int64_t types[6] = { 0, 0, 1, 0, 1, 0 };
    static const int64_t labels[6] = { -100, -100, 7, -100, 49, -100 };
    static const float pixels[4] = { 0.f, 0.5f, -0.5f, 1.f };
    static const lvlm_shape shape = { 4, { 1, 1, 2, 2 } };
    synthetic_put_integers(s, "input_ids", 2, 3, ids);
    synthetic_put_integers(s, "attention_mask", 2, 3, mask);
    synthetic_put_integers(s, "token_type_ids", 2, 3, types);
    synthetic_put_integers(s, "labels", 2, 3, labels);
    synthetic_put_integers(s, "mm_token_type_ids", 2, 3, types);
    synthetic_put(s, "pixel_values", LVLM_F32, &shape, pixels);
}

static void inputs_accepts_a_good_batch(void **state)
{
    (void)state;
    synthetic s = { 0 };
    lvlm_inputs in;
    put_good(&s);
    assert_int_equal(lvlm_inputs_read(&in, &s.checkpoint, "", &spec, NULL, NULL), 0);
    assert_int_equal(in.B, 2);
    assert_int_equal(in.T, 3);
    assert_int_equal(in.ids[4], 49);
    assert_int_equal(in.real[5], 0);
    assert_int_equal(in.types[2], 1);
    assert_int_equal(in.labels[2], 7);
    assert_int_equal(in.images.n, 1);
    lvlm_inputs_free(&in);
    synthetic_free(&s);
}

/* The only note on the batch `s`; "" when there is none. */
static const char *noted(const synthetic *s, const lvlm_input_spec *model,
                         lvlm_notes *notes)
{
    lvlm_inputs in;
    assert_int_equal(lvlm_inputs_read(&in, &s->checkpoint, "", model, notes, NULL), 0);
    lvlm_inputs_free(&in);
    assert_true(notes->n <= 1);
    return notes->n == 1 ? notes->at[0] : "";
}

static void inputs_notes_unused_tensors(void **state)
{
    static const int64_t values[6] = { 0 };
    static const struct {
        const char *name;
        bool typed;
        const char *said;
    } cases[] = {
        { "mm_token_type_ids", true, "" },
        { "pixel_value", true,
          "tensors of the inputs: 'pixel_value' is not known and not followed; did you "
          "mean 'pixel_values'?" },
        { "inputs_embeds", true,
          "tensors of the inputs: 'inputs_embeds' is not known and not followed" },
        { "image_grid_thw", true,
          "tensors of the inputs: 'image_grid_thw' is not followed: this model has no "
          "use for it" },
        { "mm_token_type_ids", false,
          "tensors of the inputs: 'token_type_ids' is not followed: this model has no "
          "use for it" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lvlm_notes notes = LVLM_NOTES_INIT;
        lvlm_input_spec model = spec;
        synthetic s = { 0 };
        model.typed = cases[i].typed;
        put_good(&s);
        if (strcmp(cases[i].name, "mm_token_type_ids") != 0)
            synthetic_put_integers(&s, cases[i].name, 2, 3, values);
        assert_string_equal(noted(&s, &model, &notes), cases[i].said);
        lvlm_notes_free(&notes);
        synthetic_free(&s);
    }
}

static void inputs_fills_in_optional_tensors(void **state)
{
    (void)state;
    static const int64_t ids[3] = { 1, 2, 3 };
    synthetic s = { 0 };
    lvlm_inputs in;
    synthetic_put_integers(&s, "in.input_ids", 1, 3, ids);
    assert_int_equal(lvlm_inputs_read(&in, &s.checkpoint, "in.", &spec, NULL, NULL), 0);
    assert_int_equal(in.real[0], 1);
    assert_int_equal(in.types[2], 0);
    assert_null(in.labels);
    assert_null(in.images.pixels);
    lvlm_inputs_free(&in);
    synthetic_free(&s);
}

static void inputs_accepts_i32(void **state)
{
    (void)state;
    static const int32_t ids[2] = { 3, 4 }, labels[2] = { -100, 4 };
    static const lvlm_shape shape = { 2, { 1, 2 } };
    synthetic s = { 0 };
    lvlm_inputs in;
    synthetic_put(&s, "input_ids", LVLM_I32, &shape, ids);
    synthetic_put(&s, "labels", LVLM_I32, &shape, labels);
    assert_int_equal(lvlm_inputs_read(&in, &s.checkpoint, "", &spec, NULL, NULL), 0);
    assert_int_equal(in.ids[1], 4);
    assert_int_equal(in.labels[0], -100);
    lvlm_inputs_free(&in);
    synthetic_free(&s);
}

/* A processor labels everything -100 when there is no suffix. */
static void inputs_treats_labels_that_never_count_as_absent(void **state)
{
    (void)state;
    static const int64_t ids[3] = { 1, 2, 3 }, labels[3] = { 5, -100, -100 };
    synthetic s = { 0 };
    lvlm_inputs in;
    synthetic_put_integers(&s, "input_ids", 1, 3, ids);
    synthetic_put_integers(&s, "labels", 1, 3, labels);
    assert_int_equal(lvlm_inputs_read(&in, &s.checkpoint, "", &spec, NULL, NULL), 0);
    assert_null(in.labels);
    lvlm_inputs_free(&in);
    synthetic_free(&s);
}

/* One bad tensor in place of a good one, and what the message must contain. */
typedef struct bad_input {
    const char *name;
    lvlm_dtype dtype;
    lvlm_shape shape;
    int64_t integers[6];
    const char *message;
} bad_input;

// clang-format off
static const bad_input bad_inputs[] = {
    { "input_ids", LVLM_F32, { 2, { 2, 3 } }, { 0 }, "input_ids: dtype F32, expected I64 or I32" },
    { "input_ids", LVLM_I64, { 1, { 6 } }, { 0 }, "input_ids: shape [6], expected [texts, tokens]" },
    { "input_ids", LVLM_I64, { 2, { 2, 0 } }, { 0 }, "input_ids: shape [2, 0]" },
    { "input_ids", LVLM_I64, { 2, { 2, 3 } }, { 60, 60, 7, 1, 50, 0 }, "input_ids[1, 1]: got 50, expected 0 to 49 or 60 (the image token)" },
    { "input_ids", LVLM_I64, { 2, { 2, 3 } }, { 60, 60, -1, 1, 2, 0 }, "input_ids[0, 2]: got -1" },
    { "input_ids", LVLM_I64, { 2, { 2, 3 } }, { 60, 2, 7, 1, 2, 0 }, "input_ids: 1 image tokens (id 60), but 1 image fill 2" },
    { "input_ids", LVLM_I64, { 2, { 2, 3 } }, { 60, 60, 60, 60, 2, 0 }, "input_ids: 4 image tokens (id 60), but 1 image fill 2" },
    { "attention_mask", LVLM_I64, { 2, { 3, 2 } }, { 1 }, "attention_mask: shape [3, 2], expected [2, 3]" },
    { "attention_mask", LVLM_I64, { 2, { 2, 3 } }, { 1, 2, 1, 1, 1, 1 }, "attention_mask[0, 1]: got 2, expected 0 to 1" },
    { "attention_mask", LVLM_I64, { 2, { 2, 3 } }, { 0 }, "attention_mask: every token is padding" },
    { "attention_mask", LVLM_I64, { 2, { 2, 3 } }, { 1, 0, 1, 1, 1, 0 }, "labels[0, 2]: got 7, but the token before it" },
    { "token_type_ids", LVLM_I64, { 2, { 2, 3 } }, { 0, 0, -1, 0, 0, 0 }, "token_type_ids[0, 2]: got -1, expected 0 to 1" },
    { "labels", LVLM_I64, { 2, { 2, 3 } }, { -100, 60, 7, 1, 2, 0 }, "labels[0, 1]: got 60, expected 0 to 49 or -100 (to ignore it)" },
    { "labels", LVLM_I64, { 2, { 2, 3 } }, { -1, 0, 0, 0, 0, 0 }, "labels[0, 0]: got -1" },
    { "pixel_values", LVLM_I64, { 4, { 1, 1, 2, 2 } }, { 0 }, "pixel_values: dtype I64, expected F32, F64, BF16 or F16" },
    { "pixel_values", LVLM_F32, { 4, { 1, 1, 2, 3 } }, { 0 }, "pixel_values: shape [1, 1, 2, 3], expected [any, 1, 2, 2]" },
    { "pixel_values", LVLM_F32, { 3, { 1, 2, 2 } }, { 0 }, "pixel_values: shape [1, 2, 2], expected [any, 1, 2, 2]" },
    { "pixel_values", LVLM_F32, { 4, { 0, 1, 2, 2 } }, { 0 }, "2 image tokens (id 60), but 0 images fill 0" },
    { "pixel_values", LVLM_F32, { 4, { 2, 1, 2, 2 } }, { 0 }, "2 image tokens (id 60), but 2 images fill 4" },
};
// clang-format on

static void inputs_names_what_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_inputs / sizeof *bad_inputs; i++) {
        const bad_input *const bad = &bad_inputs[i];
        synthetic s = { 0 };
        lvlm_inputs in;
        lvlm_error err;
        put_good(&s);
        synthetic_put(&s, bad->name, bad->dtype, &bad->shape, bad->integers);
        assert_int_equal(lvlm_inputs_read(&in, &s.checkpoint, "", &spec, NULL, &err),
                         LVLM_EFORMAT);
        if (strstr(err.text, bad->message) == NULL)
            fail_msg("got '%s', expected '%s'", err.text, bad->message);
        lvlm_inputs_free(&in);
        synthetic_free(&s);
    }
}

static void inputs_refuses_pixels_that_are_not_finite(void **state)
{
    (void)state;
    static const lvlm_shape shape = { 4, { 1, 1, 2, 2 } };
    const float values[2] = { NAN, INFINITY };
    for (size_t i = 0; i < 2; i++) {
        const float pixels[4] = { 0.f, 0.f, values[i], 0.f };
        synthetic s = { 0 };
        lvlm_inputs in;
        lvlm_error err;
        put_good(&s);
        synthetic_put(&s, "pixel_values", LVLM_F32, &shape, pixels);
        assert_int_equal(lvlm_inputs_read(&in, &s.checkpoint, "", &spec, NULL, &err),
                         LVLM_EFORMAT);
        assert_non_null(strstr(err.text, "pixel_values[0, 0, 1, 0]: got "));
        lvlm_inputs_free(&in);
        synthetic_free(&s);
    }
}

/* The patches of 65536 grids of 2^48 add up to 0 modulo 2^64; one more grid of 4 then
 * agrees with the pixels. */
static void inputs_refuses_grids_whose_patches_overflow(void **state)
{
    enum { GRIDS = 65537 };
    static int64_t grids[3 * GRIDS];
    static const int64_t ids[1] = { 60 };
    static const float pixels[4] = { 0 };
    static const lvlm_shape shape = { 2, { 4, 1 } };
    lvlm_input_spec patches = spec;
    synthetic s = { 0 };
    lvlm_inputs in;
    lvlm_error err;
    (void)state;
    patches.images = (lvlm_image_spec){
        .form = LVLM_IMAGES_PATCHES, .channels = 1, .patch = 1, .frames = 1, .merge = 2
    };
    patches.rows = (lvlm_image_rows){ .pool = 2 };
    for (size_t i = 0; i < 3 * (GRIDS - 1); i++) grids[i] = 65536;
    grids[3 * GRIDS - 3] = 1;
    grids[3 * GRIDS - 2] = grids[3 * GRIDS - 1] = 2;
    synthetic_put_integers(&s, "input_ids", 1, 1, ids);
    synthetic_put_integers(&s, "image_grid_thw", GRIDS, 3, grids);
    synthetic_put(&s, "pixel_values", LVLM_F32, &shape, pixels);
    assert_int_equal(lvlm_inputs_read(&in, &s.checkpoint, "", &patches, NULL, &err),
                     LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "pixel_values: 4 patches, but the grid of "
                                     "image_grid_thw[0] ends after number"));
    lvlm_inputs_free(&in);
    synthetic_put_integers(&s, "image_grid_thw", 1, 3, &grids[3 * GRIDS - 3]);
    assert_int_equal(lvlm_inputs_read(&in, &s.checkpoint, "", &patches, NULL, &err), 0);
    lvlm_inputs_free(&in);
    synthetic_free(&s);
}

static void inputs_names_a_missing_tensor_with_its_prefix(void **state)
{
    (void)state;
    synthetic s = { 0 };
    lvlm_inputs in;
    lvlm_error err;
    put_good(&s);
    assert_int_equal(lvlm_inputs_read(&in, &s.checkpoint, "in.", &spec, NULL, &err),
                     LVLM_EFORMAT);
    assert_string_equal(err.text, "in.input_ids: is missing");
    lvlm_inputs_free(&in);
    synthetic_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inputs_accepts_a_good_batch),
        cmocka_unit_test(inputs_notes_unused_tensors),
        cmocka_unit_test(inputs_fills_in_optional_tensors),
        cmocka_unit_test(inputs_accepts_i32),
        cmocka_unit_test(inputs_treats_labels_that_never_count_as_absent),
        cmocka_unit_test(inputs_names_what_is_wrong),
        cmocka_unit_test(inputs_refuses_pixels_that_are_not_finite),
        cmocka_unit_test(inputs_refuses_grids_whose_patches_overflow),
        cmocka_unit_test(inputs_names_a_missing_tensor_with_its_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
