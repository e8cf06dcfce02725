/* test_videos.c - videos of every family compared with its processor's output.
 *
 *   fixtures/videos/FAMILY/cases.json: a conversation with clips -> every id, and the
 *   SHA-256 of every tensor, with torchvision and with Pillow */
#include "runtime/prepare/image/video_input.h"
#include "tests/runtime/prepare/prompt_run.h"
#include "tests/runtime/prepare/video_cases.h"

static void run_case(const char *folder, const cJSON *item, const char *family,
                     lvlm_resampling resampling)
{
    const bool pillow = resampling == LVLM_RESAMPLING_PILLOW;
    const cJSON *const others = lvlm_json_get(item, "pillow"), *want;
    char what[256];
    lvlm_error err;
    run r;
    snprintf(what, sizeof what, "%s: %s, %s", family, case_text(item, "name"),
             pillow ? "pillow" : "torchvision");
    open_model(&r, folder);
    if (video_case_make(&r, item, resampling, &err) < 0)
        fail_msg("%s: %s", what, err.text);
    case_ids_are(r.prompt.ids, r.prompt.n, lvlm_json_get(item, "input_ids"), what);
    LVLM_JSON_MEMBERS (want, lvlm_json_get(item, "tensors")) {
        const cJSON *const other = lvlm_json_get(others, want->string);
        check_tensor(&r, pillow && other != NULL ? other : want, what);
    }
    assert_int_equal(r.inputs.batch.n_tensors,
                     lvlm_json_count_members(lvlm_json_get(item, "tensors")));
    finish(&r);
    close_model(&r);
}

static void tensors_equal_the_processors(void **state)
{
    static const char *const families[] = { "qwen2_vl", "qwen2_5_vl" };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        cJSON *const cases = cases_read("videos", families[i]);
        const cJSON *item;
        assert_true(lvlm_json_count(cases) >= 30);
        LVLM_JSON_ITEMS (item, cases) {
            scratch s;
            scratch_make(&s);
            const char *const folder = video_case_model(&s, families[i], item);
            run_case(folder, item, families[i], LVLM_RESAMPLING_TORCHVISION);
            run_case(folder, item, families[i], LVLM_RESAMPLING_PILLOW);
            scratch_remove(&s);
        }
        lvlm_json_free(cases);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_equal_the_processors),
    };
    /* cases name clips of this folder */
    if (chdir(LVLM_FIXTURES "/videos") != 0) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
