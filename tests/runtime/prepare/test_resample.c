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
    assert_true(n_other_order >= 5); /* the order of the passes shows */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resized_pixels_are_the_references),
        cmocka_unit_test(edges_are_clipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
