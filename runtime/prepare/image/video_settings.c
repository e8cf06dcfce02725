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

static int read_count(uint64_t *out, const vision_file *file, const char *key,
                      lvlm_error *err)
{
    const cJSON *const item = lvlm_json_given(file->object, key);
    if (item == NULL) return 0;
    if (!lvlm_json_u64(out, item) || *out == 0 || *out > MOST_TOKENS)
        return vision_file_wrong(file, key, "a whole number from 1 to 2^32", err);
    return 0;
}

int video_settings_read(video_settings *out, const vision_file *file, lvlm_error *err)
{
    static const char type_key[] = "video_processor_type";
    video_sampling *const s = &out->sampling;
    const cJSON *const type = lvlm_json_given(file->object, type_key);
    const char *const word = lvlm_json_string(type);
    if (type != NULL && (word == NULL || strcmp(word, CLASS) != 0))
        return vision_file_wrong(file, type_key, CLASS, err);
    TRY(vision_file_flag(&s->on, file, "do_sample_frames", err));
    TRY(vision_file_above_0(&s->fps, file, "fps", err));
    TRY(read_count(&s->n, file, "num_frames", err));
    TRY(read_count(&s->least, file, "min_frames", err));
    TRY(read_count(&s->most, file, "max_frames", err));
    TRY(vision_file_flag(&out->capped, file, "cap_pixels_per_frame", err));
    return read_count(&out->max_tokens, file, "max_video_tokens", err);
}
