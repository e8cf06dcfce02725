/* test_boxes.c - boxes in answers are found, drawn and written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/prepare/image/boxes.h"
#include "runtime/prepare/image/image_save.h"
#include "tests/support/scratch.h"

static void boxes_in_both_notations_are_found(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        const char *label;
        size_t pixels[4]; /* of the first, in 1024 x 512 */
    } cases[] = {
        { "<loc0512><loc0001><loc1023><loc0768> a cat ; <loc0000><loc0000><loc0100>"
          "<loc0100> dog",
          2,
          "a cat",
          { 1, 256, 768, 511 } },
        { "<loc0000><loc0000><loc1024><loc1024>", 1, "", { 0, 0, 1023, 511 } },
        { "<loc0100><loc0200><loc0050><loc0100><seg001><seg127> it\nmore",
          1,
          "it",
          { 100, 25, 200, 50 } }, /* corners in any order */
        { "There <ref>the cat</ref><box>(0,500),(999,1000)</box>, and <ref>two</ref>"
          "<box>(1,1),(2,2)</box><box>(3,3),(4,4)</box>",
          3,
          "the cat",
          { 0, 256, 1022, 511 } },
        { "<box>(250,250),(500,500)</box>", 1, "", { 256, 128, 512, 256 } },
        { "<|object_ref_start|>x<|object_ref_end|><|box_start|>(250,250),(500,500)"
          "<|box_end|>",
          1,
          "x",
          { 256, 128, 512, 256 } },
        { "<loc0001><loc0002><loc0003> cat", 0, NULL, { 0 } },
        { "<loc001><loc0002><loc0003><loc0004>", 0, NULL, { 0 } },
        { "<box>(1,2),(3,4)", 0, NULL, { 0 } },
        { "<box>(1,2)(3,4)</box>", 0, NULL, { 0 } },
        { "<ref>open <box>(1,,2),(3,4)</box> < <<", 0, NULL, { 0 } },
        { "", 0, NULL, { 0 } },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lvlm_boxes boxes;
        size_t pixels[4];
        assert_int_equal(lvlm_boxes_find(&boxes, cases[i].text, NULL), 0);
        assert_int_equal(boxes.n, cases[i].n);
        if (boxes.n > 0) {
            assert_string_equal(boxes.at[0].label, cases[i].label);
            lvlm_box_pixels(pixels, &boxes.at[0], 1024, 512);
            assert_memory_equal(pixels, cases[i].pixels, sizeof pixels);
        }
        lvlm_boxes_free(&boxes);
    }
}

static bool is_colour(const lvlm_image *image, size_t x, size_t y,
                      const unsigned char rgb[3])
{
    return memcmp(image->pixels + 3 * (y * image->width + x), rgb, 3) == 0;
}

static void outlines_stay_inside_and_are_written(void **state)
{
    static const unsigned char black[3];
    unsigned char red[3], green[3];
    lvlm_boxes boxes;
    lvlm_image image, again;
    scratch s;
    (void)state;
    assert_string_equal(lvlm_box_colour(red, 0), "red");
    assert_string_equal(lvlm_box_colour(green, LVLM_BOX_COLOURS + 1), "green");
    assert_int_equal(lvlm_image_make(&image, 600, 500, NULL), 0); /* lines of 3 */
    memset(image.pixels, 0, 600 * 500 * 3);
    assert_int_equal(lvlm_boxes_find(&boxes,
                                     "<box>(100,100),(200,200)</box>"
                                     "<box>(999,999),(1000,1000)</box>",
                                     NULL),
                     0);
    lvlm_boxes_draw(&image, &boxes);
    assert_true(is_colour(&image, 60, 50, red) && is_colour(&image, 62, 52, red));
    assert_true(is_colour(&image, 63, 53, black) && is_colour(&image, 59, 50, black));
    assert_true(is_colour(&image, 120, 100, red) && is_colour(&image, 118, 98, red));
    assert_true(is_colour(&image, 117, 97, black) &&
                is_colour(&image, 121, 100, black));
    assert_true(is_colour(&image, 599, 499, green));
    scratch_make(&s);
    const char *const path = scratch_path(&s, "out.png");
    lvlm_outfile *const out = open_outfile(path);
    assert_int_equal(lvlm_image_save(&image, out, NULL), 0);
    lvlm_outfile_close(out);
    assert_int_equal(lvlm_image_read(&again, path, NULL, NULL), 0);
    assert_true(again.width == 600 && again.height == 500);
    assert_memory_equal(again.pixels, image.pixels, 600 * 500 * 3);
    lvlm_image_free(&again);
    lvlm_image_free(&image);
    lvlm_boxes_free(&boxes);
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boxes_in_both_notations_are_found),
        cmocka_unit_test(outlines_stay_inside_and_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
