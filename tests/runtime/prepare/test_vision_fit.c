/* test_vision_fit.c - the size that an image is resized to. */
#include "runtime/prepare/image/vision_fit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patches_get_multiples_of_28),
        cmocka_unit_test(tiles_get_the_canvas_that_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
