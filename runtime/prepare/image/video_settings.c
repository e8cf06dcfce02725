/* video_settings.c - sampling, and the bound on all frames; see video_settings.h. */
#include "runtime/prepare/image/video_settings.h"

#include <string.h>

#include "formats/base/json.h"

#define CLASS "Qwen2VLVideoProcessor"

/* Tokens of a video and frames to sample: far above any. */
#define MOST_TOKENS (UINT64_C(1) << 32)

void video_settings_init(vision_settings *out)
{
    out->min_pixels = 128 * 28 * 28;
    out->max_pixels = 768 * 28 * 28;
    out->videos = (video_settings){ .max_tokens = 128000,
                                    .sampling = { .least = 4, .most = 768 } };
}

static int wrong(const char *file, const char *key, const char *expected,
                 lvlm_error *err)
{
    return lvlm_fail(err, LVLM_EFORMAT, "%s: %s: expected %s", file, key, expected);
}

static int read_flag(bool *out, const cJSON *object, const char *key, const char *file,
                     lvlm_error *err)
{
    const cJSON *const item = lvlm_json_given(object, key);
    if (item == NULL) return 0;
    if (!cJSON_IsBool(item)) return wrong(file, key, "true or false", err);
    *out = cJSON_IsTrue(item);
    return 0;
}

static int read_count(uint64_t *out, const cJSON *object, const char *key,
                      const char *file, lvlm_error *err)
{
    const cJSON *const item = lvlm_json_given(object, key);
    if (item == NULL) return 0;
    if (!lvlm_json_u64(out, item) || *out == 0 || *out > MOST_TOKENS)
        return wrong(file, key, "a whole number from 1 to 2^32", err);
    return 0;
}

static int read_rate(double *out, const cJSON *object, const char *key,
                     const char *file, lvlm_error *err)
{
    const cJSON *const item = lvlm_json_given(object, key);
    if (item == NULL) return 0;
    if (!lvlm_json_double(out, item) || !(*out > 0))
        return wrong(file, key, "a number above 0", err);
    return 0;
}

int video_settings_read(video_settings *out, const cJSON *object, const char *file,
                        lvlm_error *err)
{
    video_sampling *const s = &out->sampling;
    const cJSON *const type = lvlm_json_given(object, "video_processor_type");
    const char *const word = lvlm_json_string(type);
    if (type != NULL && (word == NULL || strcmp(word, CLASS) != 0))
        return wrong(file, "video_processor_type", CLASS, err);
    TRY(read_flag(&s->on, object, "do_sample_frames", file, err));
    TRY(read_rate(&s->fps, object, "fps", file, err));
    TRY(read_count(&s->n, object, "num_frames", file, err));
    TRY(read_count(&s->least, object, "min_frames", file, err));
    TRY(read_count(&s->most, object, "max_frames", file, err));
    TRY(read_flag(&out->capped, object, "cap_pixels_per_frame", file, err));
    return read_count(&out->max_tokens, object, "max_video_tokens", file, err);
}
