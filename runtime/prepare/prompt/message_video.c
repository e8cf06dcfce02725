/* message_video.c - video parts; see message_video.h. */
#include "runtime/prepare/prompt/message_video.h"

#include <string.h>

#include "formats/base/json.h"
#include "formats/base/keys.h"
#include "formats/base/text.h"
#include "runtime/prepare/prompt/messages.h"

#define REFUSED LVLM_KEY_REFUSED
#define BOUNDS                                                                         \
    "sizes of a single video are not followed; give frames in the size that they are " \
    "to have, or set the bounds of all in video_preprocessor_config.json"
#define SAMPLING                                                                       \
    "the processor's settings say which frames are used (do_sample_frames, fps, "      \
    "num_frames); or name the frames one by one"

static const lvlm_key keys[] = {
    { "type" },
    { "video" },
    { "path" },
    { "url" },
    { "fps" },
    { MESSAGE_SIZE_KEYS, REFUSED, BOUNDS },
    { "nframes|num_frames|min_frames|max_frames", REFUSED, SAMPLING },
    { "sample_fps|video_start|video_end", REFUSED, SAMPLING },
    { NULL },
};

static int read_file(const char **out, const cJSON *item, const char *where,
                     lvlm_arena *arena, lvlm_error *err)
{
    static const char local[] = "file://";
    const char *file = lvlm_json_string(item);
    FAIL_IF(file == NULL || *file == '\0', err, LVLM_EFORMAT,
            "%s: a video: expected a folder of frames, or a list of their files",
            where);
    FAIL_IF(strstr(file, "://") != NULL && !lvlm_starts_with(file, local), err,
            LVLM_EFORMAT,
            "%s: '%.64s': videos are not fetched, expected a folder or files", where,
            file);
    if (lvlm_starts_with(file, local)) file += strlen(local);
    *out = lvlm_arena_strndup(arena, file, strlen(file));
    return *out != NULL ? 0 : lvlm_fail_memory(err);
}

int message_video_files(lvlm_clip *out, const cJSON *item, const char *where,
                        lvlm_arena *arena, lvlm_error *err)
{
    const cJSON *file;
    const size_t most = cJSON_IsArray(item) ? lvlm_json_count(item) : 1;
    const char **files = lvlm_arena_alloc(arena, most + 1, sizeof *files);
    if (files == NULL) return lvlm_fail_memory(err);
    out->files = files;
    out->n_files = most;
    FAIL_IF(most == 0, err, LVLM_EFORMAT, "%s: a video of no frames", where);
    if (!cJSON_IsArray(item)) return read_file(files, item, where, arena, err);
    LVLM_JSON_ITEMS (file, item) TRY(read_file(files++, file, where, arena, err));
    return 0;
}

int message_video_fps(double *out, const cJSON *item, const char *where,
                      lvlm_error *err)
{
    *out = 0;
    if (item == NULL || cJSON_IsNull(item)) return 0;
    FAIL_IF(!lvlm_json_double(out, item) || !(*out > 0), err, LVLM_EFORMAT,
            "%s: fps: expected frames a second, a number above 0", where);
    return 0;
}

int message_video_read(const lvlm_clip **out, const cJSON *item, const char *where,
                       lvlm_arena *arena, lvlm_notes *notes, lvlm_error *err)
{
    static const char *const names[] = { "video", "path", "url" };
    lvlm_clip *const clip = lvlm_arena_alloc(arena, 1, sizeof *clip);
    const cJSON *named = NULL;
    if (clip == NULL) return lvlm_fail_memory(err);
    TRY(lvlm_keys_check(item, "videos", keys, notes, err));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const cJSON *const files = lvlm_json_given(item, names[i]);
        if (files == NULL) continue;
        FAIL_IF(named != NULL, err, LVLM_EFORMAT,
                "%s: a video has '%s' and '%s'; keep one of them", where, named->string,
                names[i]);
        named = files;
    }
    if (named != NULL) TRY(message_video_files(clip, named, where, arena, err));
    TRY(message_video_fps(&clip->fps, lvlm_json_get(item, "fps"), where, err));
    *out = clip;
    return 0;
}

/* ---- from beside the messages --------------------------------------------------- */

static int give(const lvlm_clip **out, const lvlm_clip *clip, double fps,
                lvlm_arena *arena, lvlm_error *err)
{
    lvlm_clip *const copy = lvlm_clip_copy(clip, arena);
    if (copy == NULL) return lvlm_fail_memory(err);
    if (fps > 0) copy->fps = fps;
    *out = copy;
    return 0;
}

int lvlm_messages_give_videos(lvlm_messages *m, const lvlm_clip *clips, size_t n_clips,
                              lvlm_error *err)
{
    size_t n_taken = 0, n_places = 0, n_waiting = 0;
    for (size_t i = 0; i < m->n; i++)
        for (size_t j = 0; j < m->at[i].n_parts; j++) {
            lvlm_part *const part = &m->at[i].parts[j];
            n_places += part->video != NULL;
            if (part->video == NULL || part->video->n_files > 0) continue;
            n_waiting++;
            if (n_taken < n_clips)
                TRY(give(&part->video, &clips[n_taken++], part->video->fps, &m->arena,
                         err));
        }
    FAIL_IF(n_taken < n_waiting || (n_places > 0 && n_taken < n_clips), err,
            LVLM_EUSAGE, "videos: %zu are given, %zu of the messages' name no frames",
            n_clips, n_waiting);
    const size_t n = n_clips - n_taken;
    m->unplaced_videos = lvlm_arena_alloc(&m->arena, n, sizeof *m->unplaced_videos);
    if (n > 0 && m->unplaced_videos == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < n; i++)
        TRY(give(&m->unplaced_videos[m->n_unplaced_videos++], &clips[i], 0, &m->arena,
                 err));
    return 0;
}
