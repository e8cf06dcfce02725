/* test_video_sample.c - which frames of a video are used: those that the class samples
 * (fixtures/videos/samples.json); and in which order they are found. */
#include "runtime/prepare/image/video_sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "formats/base/digest.h"
#include "runtime/prepare/image/clip.h"
#include "tests/support/fixtures.h"
#include "tests/support/scratch.h"

static double number(const cJSON *json, double absent)
{
    double value = absent;
    (void)lvlm_json_double(&value, json);
    return value;
}

static void same_sample(const video_sampling *s, const cJSON *row)
{
    const size_t total = (size_t)number(lvlm_json_item(row, 0), 0);
    const size_t want = (size_t)number(lvlm_json_item(row, 2), 0);
    const char *const sha = lvlm_json_string(lvlm_json_item(row, 3));
    lvlm_arena arena = LVLM_ARENA_INIT;
    char hex[LVLM_DIGEST_HEX + 1];
    int32_t indices[1024];
    lvlm_error err;
    size_t *at, n = 0;
    const int rc = video_sample(&at, &n, s, 2, total, number(lvlm_json_item(row, 1), 0),
                                &arena, &err);
    if ((rc < 0) != (want == 0) || (rc == 0 && n != want))
        fail_msg("%zu frames: %zu are used, expected %zu", total, n, want);
    for (size_t i = 0; rc == 0 && i < n; i++) indices[i] = (int32_t)at[i];
    if (rc == 0) {
        assert_int_equal(lvlm_digest_bytes(hex, indices, n * sizeof *indices, NULL), 0);
        if (strcmp(hex, sha) != 0) fail_msg("%zu frames: others are used", total);
    }
    lvlm_arena_free(&arena);
}

static void frames_are_those_of_the_class(void **state)
{
    cJSON *const json = fixture_json("videos", "samples.json");
    const cJSON *entry, *row;
    size_t n = 0, n_refused = 0;
    (void)state;
    LVLM_JSON_ITEMS (entry, json) {
        const cJSON *const settings = lvlm_json_get(entry, "settings");
        const video_sampling s = {
            .on = true,
            .fps = number(lvlm_json_get(settings, "fps"), 0),
            .n = (uint64_t)number(lvlm_json_get(settings, "num_frames"), 0),
            .least = (uint64_t)number(lvlm_json_get(settings, "min_frames"), 4),
            .most = (uint64_t)number(lvlm_json_get(settings, "max_frames"), 768),
        };
        LVLM_JSON_ITEMS (row, lvlm_json_get(entry, "rows")) {
            same_sample(&s, row);
            n_refused += number(lvlm_json_item(row, 2), 0) == 0;
            n++;
        }
    }
    assert_true(n >= 300 && n_refused >= 30);
    lvlm_json_free(json);
}

/* ---- files ---------------------------------------------------------------------- */

/* The names of a folder's frames, and how many notes there are on it. */
static void names_are(const char *const *names, const char *want, size_t n_notes)
{
    lvlm_notes notes = LVLM_NOTES_INIT;
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_strbuf text = LVLM_STRBUF_INIT(1 << 12);
    lvlm_clip clip;
    lvlm_error err;
    scratch s;
    scratch_make(&s);
    assert_int_equal(mkdir(scratch_path(&s, "clip"), 0777), 0);
    for (; *names != NULL; names++) scratch_write(&s, *names, "", 0);
    const char *const folder = scratch_path(&s, "clip");
    const lvlm_clip named = { &folder, 1, 3 };
    if (lvlm_clip_frames(&clip, &named, &arena, &notes, &err) < 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < clip.n_files; i++)
        lvlm_strbuf_printf(&text, "%s ", clip.files[i] + strlen(folder) + 1);
    assert_string_equal(text.text, want);
    assert_int_equal(notes.n, n_notes);
    assert_true(clip.fps == 3);
    lvlm_strbuf_free(&text);
    lvlm_arena_free(&arena);
    lvlm_notes_free(&notes);
    scratch_remove(&s);
}

static void frames_are_in_the_order_of_their_names(void **state)
{
    static const char *const padded[] = { "clip/f010.png", "clip/f009.png", "clip/.b",
                                          NULL };
    static const char *const counted[] = { "clip/f10.png", "clip/f9.png", NULL };
    static const char *const words[] = { "clip/b", "clip/a2c1", "clip/a1c10",
                                         "clip/a02", NULL };
    (void)state;
    names_are(padded, "f009.png f010.png ", 0);
    names_are(counted, "f10.png f9.png ", 1);
    names_are(words, "a02 a1c10 a2c1 b ", 1); /* 2 before 1 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_those_of_the_class),
        cmocka_unit_test(frames_are_in_the_order_of_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
