/* example_video.c - see example_video.h. */
#include "runtime/tune/data/example_video.h"

#include "formats/base/json.h"
#include "runtime/prepare/prompt/message_video.h"

/* Is it a list of names, and nothing else? */
static bool names_files(const cJSON *list)
{
    const cJSON *item;
    if (!cJSON_IsArray(list)) return false;
    LVLM_JSON_ITEMS (item, list)
        if (!cJSON_IsString(item)) return false;
    return true;
}

static int read_clip(lvlm_clip *out, const cJSON *item, const char *where,
                     lvlm_arena *arena, lvlm_notes *notes, lvlm_error *err)
{
    const lvlm_clip *clip;
    if (!cJSON_IsObject(item)) return message_video_files(out, item, where, arena, err);
    TRY(message_video_read(&clip, item, where, arena, notes, err));
    FAIL_IF(clip->n_files == 0, err, LVLM_EFORMAT, "%s: a video names no frames",
            where);
    *out = *clip;
    return 0;
}

/* One number for all videos that have none of their own, or one for each. */
static int read_rates(example_videos *out, const cJSON *json, lvlm_error *err)
{
    const cJSON *const fps = lvlm_json_given(json, "fps"), *item;
    const size_t n = lvlm_json_count(fps);
    double rate = 0;
    if (!cJSON_IsArray(fps)) {
        TRY(message_video_fps(&rate, fps, "\"fps\"", err));
        for (size_t i = 0; i < out->n; i++)
            if (out->at[i].fps == 0) out->at[i].fps = rate;
        return 0;
    }
    FAIL_IF(n != out->n, err, LVLM_EFORMAT, "\"fps\": %zu numbers, and %zu %s", n,
            out->n, out->n == 1 ? "video" : "videos");
    lvlm_clip *at = out->at;
    LVLM_JSON_ITEMS (item, fps) {
        TRY(message_video_fps(&rate, item, "\"fps\"", err));
        if (at->fps == 0) at->fps = rate;
        at++;
    }
    return 0;
}

int example_videos_read(example_videos *out, const cJSON *json, size_t n_places,
                        lvlm_arena *arena, lvlm_notes *notes, lvlm_error *err)
{
    const cJSON *const video = lvlm_json_given(json, "video"), *item;
    const cJSON *const videos = lvlm_json_given(json, "videos");
    const cJSON *const list = video != NULL ? video : videos;
    *out = (example_videos){ .key = videos != NULL ? "videos" : "video" };
    FAIL_IF(video != NULL && videos != NULL, err, LVLM_EFORMAT,
            "has \"video\" and \"videos\"; keep one of them");
    if (list == NULL || (cJSON_IsString(list) && *list->valuestring == '\0')) return 0;
    const bool one = !cJSON_IsArray(list) || (n_places == 1 && names_files(list));
    out->n = one ? 1 : lvlm_json_count(list);
    out->at = lvlm_arena_alloc(arena, out->n + 1, sizeof *out->at);
    if (out->at == NULL) return lvlm_fail_memory(err);
    if (one && cJSON_IsArray(list) && lvlm_json_count(list) == 0) out->n = 0;
    if (one && out->n == 1) TRY(read_clip(out->at, list, out->key, arena, notes, err));
    lvlm_clip *at = out->at;
    if (!one)
        LVLM_JSON_ITEMS (item, list)
            TRY(read_clip(at++, item, out->key, arena, notes, err));
    return read_rates(out, json, err);
}
