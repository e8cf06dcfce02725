/* video_cases.h - reads fixtures/videos/FAMILY/cases.json, and makes tensors of its
 * cases. */
#ifndef LVLM_TESTS_RUNTIME_PREPARE_VIDEO_CASES_H
#define LVLM_TESTS_RUNTIME_PREPARE_VIDEO_CASES_H

#include "tests/runtime/prepare/prompt_run.h"

enum { VIDEO_CASE_CLIPS = 4 };

/* The model of a case: that of prompts/, with the case's files. Valid until `s` is. */
static inline const char *video_case_model(scratch *s, const char *family,
                                           const cJSON *item)
{
    char folder[CASES_PATH], name[128];
    const cJSON *file;
    scratch_copy(s, cases_path(folder, family, "model"), "model");
    LVLM_JSON_MEMBERS (file, lvlm_json_get(item, "files")) {
        char *text = NULL;
        assert_int_equal(lvlm_json_print(&text, file, NULL), 0);
        (void)snprintf(name, sizeof name, "model/%s", file->string);
        scratch_write(s, name, text, strlen(text));
        lvlm_free(text);
    }
    return scratch_path(s, "model");
}

/* The case's videos from beside its messages. */
static inline int video_case_give(run *r, const cJSON *item, lvlm_error *err)
{
    const char *folders[VIDEO_CASE_CLIPS];
    lvlm_clip clips[VIDEO_CASE_CLIPS];
    const cJSON *folder;
    double fps = 0;
    size_t n = 0;
    (void)lvlm_json_double(&fps, lvlm_json_get(item, "fps"));
    LVLM_JSON_ITEMS (folder, lvlm_json_get(item, "frames")) {
        assert_true(n < VIDEO_CASE_CLIPS);
        folders[n] = lvlm_json_string(folder);
        clips[n] = (lvlm_clip){ &folders[n], 1, fps };
        n++;
    }
    return lvlm_messages_give_videos(&r->messages, clips, n, err);
}

/* Ids and tensors; `r` has the model open. Without frames a second, transformers'. */
static inline int video_case_make(run *r, const cJSON *item, lvlm_resampling resampling,
                                  lvlm_error *err)
{
    const lvlm_prompt_options options = { .raw = cJSON_IsTrue(
                                              lvlm_json_get(item, "raw")) };
    const lvlm_vision_options frames = { .resampling = resampling };
    const lvlm_video_options videos = { .frames = frames, .fps = 24 };
    lvlm_prompt *const prompts[] = { &r->prompt };
    lvlm_video_input *video = NULL;
    lvlm_vision_input_close(r->vision);
    r->vision = NULL;
    TRY(lvlm_vision_input_open(&r->vision, &r->manifest, &frames, err));
    TRY(lvlm_prompter_open(&r->prompter, &r->manifest, &options, err));
    TRY(case_messages(&r->messages, item, err));
    TRY(video_case_give(r, item, err));
    TRY(lvlm_prompt_write(&r->prompt, r->prompter, &r->messages, err));
    TRY(lvlm_video_input_open(&video, &r->manifest, &videos, err));
    const int rc =
        lvlm_prompt_inputs_make(&r->inputs, prompts, 1, r->vision, video, err);
    lvlm_video_input_close(video);
    return rc;
}

#endif
