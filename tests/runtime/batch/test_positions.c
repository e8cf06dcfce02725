/* test_positions.c - times of videos: the reference's product and its limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/batch/positions.h"
#include "tests/runtime/synthetic.h"

enum { IMAGE = 60, VIDEO = 61, MOST_FRAMES = 512 };

static const lvlm_input_spec spec = {
    .vocab = 50,
    .embed_rows = 70,
    .image_token = IMAGE,
    .video_token = VIDEO,
    .splice = LVLM_SPLICE_IMAGE_TOKENS,
    .images = { .form = LVLM_IMAGES_PATCHES,
                .channels = 1,
                .patch = 1,
                .frames = 1,
                .merge = 1 },
    .rows = { .pool = 1 },
};

/* A text of one video, `frames` frames of one patch each, and one more token. */
static void put_video(synthetic *s, size_t frames, float seconds)
{
    static float pixels[MOST_FRAMES];
    static int64_t ids[MOST_FRAMES + 1];
    const int64_t grid[3] = { (int64_t)frames, 1, 1 };
    const lvlm_shape rows = { 2, { frames, 1 } }, one = { 1, { 1 } };
    assert_true(frames <= MOST_FRAMES);
    for (size_t i = 0; i < frames; i++) ids[i] = VIDEO;
    ids[frames] = 7;
    synthetic_put_integers(s, "input_ids", 1, frames + 1, ids);
    synthetic_put_integers(s, "video_grid_thw", 1, 3, grid);
    synthetic_put(s, "pixel_values_videos", LVLM_F32, &rows, pixels);
    synthetic_put(s, "second_per_grid_ts", LVLM_F32, &one, &seconds);
}

/* The time of the last frame into *time and of the token after it into *next. */
static int positions_of(int64_t *time, int64_t *next, size_t frames, float seconds,
                        const lvlm_position_rules *rules, lvlm_error *err)
{
    const lvlm_packing_options options = { .axes = 3, .causal = true };
    synthetic s = { 0 };
    lvlm_inputs in;
    lvlm_packing p;
    put_video(&s, frames, seconds);
    assert_int_equal(lvlm_inputs_read(&in, &s.checkpoint, "", &spec, NULL, err), 0);
    assert_int_equal(lvlm_packing_make(&p, &in, &options, err), 0);
    const int rc = lvlm_positions_grids(&p, &in, &spec, rules, err);
    *time = p.positions[frames - 1];
    *next = p.positions[frames];
    lvlm_packing_free(&p);
    lvlm_inputs_free(&in);
    synthetic_free(&s);
    return rc;
}

static void positions_multiply_in_the_order_of_the_reference(void **state)
{
    static const struct {
        size_t frame;
        float seconds;
        double rate;
        int64_t time;
    } rows[] = {
        { 1, 1, 2, 2 },
        { 5, 0.5f, 4, 10 },
        { 30, 0.7f, 3, 63 },
        { 18, 0.7f, 5, 62 },
        { 36, 0.35f, 5, 62 },
        { 12, 0.35f, 25, 104 },
        { 128, 65535, 2, 16776960 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const lvlm_position_rules rules = { .tokens_per_second = rows[i].rate };
        int64_t time, next;
        assert_int_equal(positions_of(&time, &next, rows[i].frame + 1, rows[i].seconds,
                                      &rules, NULL),
                         0);
        assert_int_equal(time, rows[i].time);
        assert_int_equal(next, rows[i].time + 1);
    }
}

/* 30 * 0.7 is 21 in float and, from the same stored 0.7f, a little less in double. */
static void positions_multiply_in_double(void **state)
{
    lvlm_position_rules rules = { .tokens_per_second = 1 };
    int64_t time, next;
    (void)state;
    assert_int_equal(positions_of(&time, &next, 31, 0.7f, &rules, NULL), 0);
    assert_int_equal(time, 21);
    rules.in_double = true;
    assert_int_equal(positions_of(&time, &next, 31, 0.7f, &rules, NULL), 0);
    assert_int_equal(time, 20);
}

static void positions_refuse_what_float_cannot_hold(void **state)
{
    static const struct {
        size_t frames;
        float seconds;
        double rate;
    } rows[] = {
        { 300, 65535, 2 },                  /* beyond 2^24 */
        { 2, 65535, 1e30 }, { 2, 1, 1e38 }, /* beyond what an integer holds */
        { 2, 1, 1e300 },    { 2, 1, -5 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const lvlm_position_rules rules = { .tokens_per_second = rows[i].rate };
        int64_t time, next;
        lvlm_error err;
        assert_int_equal(
            positions_of(&time, &next, rows[i].frames, rows[i].seconds, &rules, &err),
            LVLM_EFORMAT);
        assert_non_null(strstr(err.text, "position would be beyond 16777215"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(positions_multiply_in_the_order_of_the_reference),
        cmocka_unit_test(positions_multiply_in_double),
        cmocka_unit_test(positions_refuse_what_float_cannot_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
