/* test_vision_fit.c - the size that an image is resized to. */
#include "runtime/prepare/image/vision_fit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static vision_fit fit(const vision_settings *s, size_t width, size_t height)
{
    vision_fit out;
    lvlm_error err = { 0 };
    if (vision_fit_find(&out, s, width, height, &err) < 0)
        fail_msg("%zu x %zu: %s", width, height, err.text);
    return out;
}

/* Halves round to even; both bounds apply. */
static void patches_get_multiples_of_28(void **state)
{
    static const struct {
        size_t height, width, to_height, to_width;
        uint64_t most;
    } all[] = {
        { 480, 640, 476, 644, 12845056 },     { 98, 126, 112, 112, 12845056 },
        { 70, 70, 56, 56, 12845056 },         { 14, 14, 56, 56, 12845056 },
        { 365, 547, 364, 560, 12845056 },     { 1080, 1920, 1092, 1932, 12845056 },
        { 4000, 6000, 2912, 4368, 12845056 }, { 10, 2000, 28, 812, 12845056 },
        { 1080, 1920, 728, 1316, 1003520 },   { 1, 1, 56, 56, 12845056 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const vision_settings s = { .model.images.form = LVLM_IMAGES_PATCHES,
                                    .resize = true,
                                    .min_pixels = 3136,
                                    .max_pixels = all[i].most,
                                    .patch = 14,
                                    .merge = 2 };
        const vision_fit f = fit(&s, all[i].width, all[i].height);
        assert_int_equal(f.height, all[i].to_height);
        assert_int_equal(f.width, all[i].to_width);
        assert_int_equal(f.rows, f.height / 14);
        assert_int_equal(f.columns, f.width / 14);
        assert_int_equal(f.tokens, f.rows * f.columns / 4);
    }
}

static void tiles_get_the_canvas_that_fits(void **state)
{
    static const struct {
        size_t width, height, id, rows, columns, to_width, to_height;
    } all[] = {
        { 560, 560, 1, 1, 1, 560, 560 },   { 1120, 560, 2, 1, 2, 1120, 560 },
        { 560, 1120, 5, 2, 1, 560, 1120 }, { 4000, 3000, 6, 2, 2, 1120, 840 },
        { 10000, 100, 4, 1, 4, 2240, 22 }, { 100, 10000, 8, 4, 1, 22, 2240 },
        { 300, 200, 1, 1, 1, 560, 373 },   { 1, 1, 1, 1, 1, 560, 560 },
        { 1680, 560, 3, 1, 3, 1680, 560 }, { 560, 1680, 7, 3, 1, 560, 1680 },
        { 65535, 1, 4, 1, 4, 2240, 1 },
    };
    const vision_settings s = {
        .model.images.form = LVLM_IMAGES_TILES, .resize = true, .side = 560, .tiles = 4
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const vision_fit f = fit(&s, all[i].width, all[i].height);
        assert_int_equal(f.aspect_id, all[i].id);
        assert_int_equal(f.rows, all[i].rows);
        assert_int_equal(f.columns, all[i].columns);
        assert_int_equal(f.width, all[i].to_width);
        assert_int_equal(f.height, all[i].to_height);
        assert_int_equal(f.tokens, 1);
    }
}

/* LLaVA's. */
static const vision_settings crops = {
    .model.images = { .form = LVLM_IMAGES_SQUARES, .side = 336, .patch = 14 },
    .model.rows = { .pool = 1 },
    .resize = true,
    .crop = true,
    .by_edge = true,
    .edge = 336,
    .side = 336
};

/* The shorter side becomes 336, the longer one is rounded down; the middle is kept. */
static void crops_keep_the_middle(void **state)
{
    static const struct {
        size_t width, height, to_width, to_height, x, y;
    } all[] = {
        { 1000, 333, 1009, 336, 336, 0 },
        { 335, 700, 336, 702, 0, 183 },
        { 1, 5, 336, 1680, 0, 672 },
        { 336, 336, 336, 336, 0, 0 },
        { 3000, 17, 59294, 336, 29479, 0 },
        { 65535, 1, 22019760, 336, 11009712, 0 },
        { 2, 65535, 336, 11009880, 0, 5504772 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const vision_fit f = fit(&crops, all[i].width, all[i].height);
        assert_int_equal(f.width, all[i].to_width);
        assert_int_equal(f.height, all[i].to_height);
        assert_int_equal(f.keep.x, all[i].x);
        assert_int_equal(f.keep.y, all[i].y);
        assert_int_equal(f.keep.width, 336);
        assert_int_equal(f.keep.height, 336);
        assert_int_equal(f.at.width, 0);
    }
}

/* The crop is larger than the image; an odd pixel is on one side or the other. */
static void small_images_are_centred_in_the_crop(void **state)
{
    vision_settings s = crops;
    (void)state;
    s.resize = s.by_edge = false;
    vision_fit f = fit(&s, 335, 400);
    assert_int_equal(f.at.x, 1);
    assert_int_equal(f.at.y, 0);
    assert_int_equal(f.keep.y, 32);
    assert_int_equal(f.keep.width, 335);
    assert_int_equal(f.at.width, 336);
    s.resampling = LVLM_RESAMPLING_TORCHVISION;
    f = fit(&s, 335, 331);
    assert_int_equal(f.at.x, 0);
    assert_int_equal(f.at.y, 2);
}

static void images_are_padded_to_a_square_before_they_are_resized(void **state)
{
    vision_settings s = crops;
    lvlm_error err = { 0 };
    (void)state;
    s.pad = true;
    vision_fit f = fit(&s, 100, 303);
    assert_int_equal(f.pad.x, 101);
    assert_int_equal(f.pad.y, 0);
    assert_int_equal(f.pad.width, 303);
    assert_int_equal(f.width, 336);
    assert_int_equal(f.height, 336);
    f = fit(&s, 9, 9);
    assert_int_equal(f.pad.width, 0);
    assert_int_equal(vision_fit_find(&f, &s, 65535, 1, &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "would be padded to 65535 x 65535 pixels"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patches_get_multiples_of_28),
        cmocka_unit_test(crops_keep_the_middle),
        cmocka_unit_test(small_images_are_centred_in_the_crop),
        cmocka_unit_test(images_are_padded_to_a_square_before_they_are_resized),
        cmocka_unit_test(tiles_get_the_canvas_that_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
