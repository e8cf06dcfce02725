/* test_resample.c - resized pixels are those of Pillow and torchvision, bit for bit. */
#include "runtime/prepare/image/resample.h"

#include "tests/runtime/prepare/recorded.h"

static const char *const words[] = {
    [LVLM_RESAMPLING_PILLOW] = "pillow",
    [LVLM_RESAMPLING_PILLOW_12] = "pillow-12",
    [LVLM_RESAMPLING_TORCHVISION] = "torchvision",
};

/* Returns the number of distinct results in the recording. */
static size_t same_as_recorded(const cJSON *entry)
{
    const char *const name = recorded_word(entry, "file");
    lvlm_image image = recorded_image(name, NULL), small;
    lvlm_resize to = {
        .width = recorded_count(entry, "width"),
        .height = recorded_count(entry, "height"),
        .filter = strcmp(recorded_word(entry, "filter"), "bicubic") == 0
                      ? LVLM_FILTER_BICUBIC
                      : LVLM_FILTER_BILINEAR,
    };
    for (size_t r = 0; r < sizeof words / sizeof *words; r++) {
        to.resampling = (lvlm_resampling)r;
        assert_int_equal(lvlm_image_resize(&small, &image, &to, NULL), 0);
        assert_int_equal(small.width, to.width);
        assert_int_equal(small.height, to.height);
        if (!pixels_are(&small, recorded_word(entry, words[r])))
            fail_msg("%s to %zu x %zu: other pixels than %s", name, to.width, to.height,
                     words[r]);
        lvlm_image_free(&small);
    }
    lvlm_image_free(&image);
    return strcmp(recorded_word(entry, words[0]), recorded_word(entry, words[1])) != 0;
}

static void resized_pixels_are_the_references(void **state)
{
    (void)state;
    cJSON *const json = recorded_json();
    const cJSON *entry;
    size_t n = 0, n_other_order = 0;
    LVLM_JSON_ITEMS (entry, lvlm_json_get(json, "resizes")) {
        n_other_order += same_as_recorded(entry);
        n++;
    }
    assert_true(n >= 60);
    assert_true(n_other_order >= 5); /* the order of the passes matters */
    lvlm_json_free(json);
}

/* Levels that overshoot below 0 or above 255 are clipped. */
static void edges_are_clipped(void **state)
{
    (void)state;
    unsigned char pixels[4 * 3] = { 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255 };
    const lvlm_image step = { 4, 1, pixels };
    for (size_t r = 0; r < sizeof words / sizeof *words; r++) {
        const lvlm_resize to = { 16, 1, LVLM_FILTER_BICUBIC, (lvlm_resampling)r };
        lvlm_image wide;
        assert_int_equal(lvlm_image_resize(&wide, &step, &to, NULL), 0);
        for (size_t x = 0; x < 16; x++)
            assert_int_equal(wide.pixels[3 * x], 255 - wide.pixels[3 * (15 - x)]);
        assert_int_equal(wide.pixels[3 * 4], 0);
        assert_int_equal(wide.pixels[3 * 11], 255);
        lvlm_image_free(&wide);
    }
}

/* A window has the same pixels as this part of the whole image. */
static void windows_are_parts_of_the_whole(void **state)
{
    static const lvlm_window windows[] = {
        { 0, 0, 1, 1 }, { 30, 7, 25, 40 }, { 0, 11, 90, 2 }, { 89, 0, 1, 48 }
    };
    lvlm_image image = recorded_image("png-rgb.png", NULL), whole, part;
    (void)state;
    for (size_t i = 0; i < 4 * sizeof words / sizeof *words; i++) {
        /* enlarged and reduced; one side unchanged */
        lvlm_resize to = { i / 4 == 2 ? image.width : 90, 48, LVLM_FILTER_BICUBIC,
                           (lvlm_resampling)(i / 4) };
        assert_int_equal(lvlm_image_resize(&whole, &image, &to, NULL), 0);
        to.keep = windows[i % 4];
        assert_int_equal(lvlm_image_resize(&part, &image, &to, NULL), 0);
        assert_int_equal(part.width, to.keep.width);
        assert_int_equal(part.height, to.keep.height);
        for (size_t y = 0; y < part.height; y++)
            assert_memory_equal(
                part.pixels + y * part.width * 3,
                whole.pixels + ((y + to.keep.y) * whole.width + to.keep.x) * 3,
                part.width * 3);
        lvlm_image_free(&whole);
        lvlm_image_free(&part);
    }
    lvlm_image_free(&image);
}

/* 65535 x 1 pixels, 22 million wide when resized: only the middle is computed. */
static void pixels_that_are_not_kept_take_no_memory(void **state)
{
    lvlm_image long_one, part;
    (void)state;
    assert_int_equal(lvlm_image_make(&long_one, 65535, 1, NULL), 0);
    memset(long_one.pixels, 77, 65535 * 3);
    const lvlm_resize to = { (size_t)65535 * 336,
                             336,
                             LVLM_FILTER_BICUBIC,
                             LVLM_RESAMPLING_PILLOW,
                             { 11009712, 0, 336, 336 } };
    assert_int_equal(lvlm_image_resize(&part, &long_one, &to, NULL), 0);
    assert_int_equal(part.width * part.height, 336 * 336);
    assert_int_equal(part.pixels[0], 77);
    lvlm_image_free(&part);
    lvlm_image_free(&long_one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resized_pixels_are_the_references),
        cmocka_unit_test(edges_are_clipped),
        cmocka_unit_test(windows_are_parts_of_the_whole),
        cmocka_unit_test(pixels_that_are_not_kept_take_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
