/* vision_keys.c - tables of the keys of processors' files; see vision_keys.h. */
#include "runtime/prepare/image/vision_keys.h"

#include <stdio.h>

#include "formats/base/json.h"
#include "formats/base/keys.h"

#define INERT LVLM_KEY_INERT
#define NOTED LVLM_KEY_NOTED

// clang-format off
/* Settings of image processors, of any class and version. */
#define COMMON_KEYS                                                                     \
    { "image_processor_type" },                                                         \
    { "do_resize" },                                                                    \
    { "size" },                                                                         \
    { "resample" },                                                                     \
    { "do_rescale" },                                                                   \
    { "rescale_factor" },                                                               \
    { "do_normalize" },                                                                 \
    { "image_mean" },                                                                   \
    { "image_std" },                                                                    \
    { "do_center_crop" },                                                               \
    { "crop_size" },                                                                    \
    { "processor_class", INERT, "the class is the family's" },                          \
    { "feature_extractor_type", INERT, "the class under an older name" },               \
    { "auto_map", INERT, "code of the model's own is not run" },                        \
    { "_*", INERT, "the class's own notes" },                                           \
    { "do_convert_rgb", NOTED, "every image is read as RGB", "true" },                  \
    { "default_to_square", INERT, "sizes are read in full" },                           \
    { "data_format", NOTED, "pixels are [channels, height, width]", "\"channels_first\"" }, \
    { "input_data_format", NOTED, "images are files", "\"channels_first\"|\"channels_last\"" }, \
    { "return_tensors", INERT, "tensors are what there is" },                           \
    { "device", INERT, "where, not what" },                                             \
    { "disable_grouping", INERT, "how fast, not what" },                                \
    { "transformers_version", INERT, "says where the file came from" }

static const lvlm_key keys_of_squares[] = {
    COMMON_KEYS,
    { "image_seq_length" },
    { "do_pad", NOTED, "images are resized to the square", "false" },
    { NULL },
};

static const lvlm_key keys_of_crops[] = {
    COMMON_KEYS,
    { "image_seq_length" },
    { "do_pad" },
    { "use_square_size", NOTED, "size says what becomes of the sides", "false" },
    { NULL },
};

#define PATCH_KEYS                                                                      \
    { "patch_size" },                                                                   \
    { "temporal_patch_size" },                                                          \
    { "merge_size" },                                                                   \
    { "min_pixels" },                                                                   \
    { "max_pixels" },                                                                   \
    { "do_pad", NOTED, "images keep their shape", "false" }

static const lvlm_key keys_of_patches[] = { COMMON_KEYS, PATCH_KEYS, { NULL } };

static const lvlm_key keys_of_videos[] = {
    COMMON_KEYS,
    PATCH_KEYS,
    { "video_processor_type" },
    { "do_sample_frames" },
    { "fps" },
    { "num_frames" },
    { "min_frames" },
    { "max_frames" },
    { "cap_pixels_per_frame" },
    { "max_video_tokens" },
    { "use_token_compression", NOTED, "no version of the class reads it", "true" },
    { "video_metadata", NOTED, "what is known of a video is given with it" },
    { "return_metadata", INERT, "tensors are what there is" },
    { NULL },
};

static const lvlm_key keys_of_tiles[] = {
    COMMON_KEYS,
    { "do_pad" },
    { "max_image_tiles" },
    { "pad_size", NOTED, "images are padded to whole tiles" },
    { NULL },
};

static const lvlm_key keys_of_size[] = { { "height" }, { "width" }, { NULL } };
static const lvlm_key keys_of_edge[] = { { "shortest_edge" }, { "height" }, { "width" }, { NULL } };
static const lvlm_key keys_of_bounds[] = { { "shortest_edge" },
                                           { "longest_edge" },
                                           { "min_pixels" },
                                           { "max_pixels" },
                                           { NULL } };

/* Of processor_config.json, around image_processor. */
static const lvlm_key keys_around[] = {
    { "image_processor" },
    { "processor_class", INERT, "the class is the family's" },
    { "auto_map", INERT, "code of the model's own is not run" },
    { "video_processor", INERT, "is read for videos, by itself" },
    { "feature_extractor", INERT, "of sound" },
    { "tokenizer", INERT, "has files of its own" },
    { "chat_template", INERT, "is read where prompts are written" },
    { "image_seq_length", INERT, "follows from image and patches" },
    { "image_token", INERT, "is the configuration's" },
    { "patch_size", INERT, "rows of an image are compared (vision_rows.h)" },
    { "num_additional_image_tokens", INERT, "likewise" },
    { "vision_feature_select_strategy", INERT, "likewise" },
    { "video_token", INERT, "likewise" },
    { "_*", INERT, "the class's own notes" },
    { "transformers_version", INERT, "says where the file came from" },
    { NULL },
};
// clang-format on

typedef struct key_tables {
    const lvlm_key *keys, *of_size;
} key_tables;

static const key_tables tables[] = {
    [VISION_KEYS_SQUARES] = { keys_of_squares, keys_of_size },
    [VISION_KEYS_CROPS] = { keys_of_crops, keys_of_edge },
    [VISION_KEYS_PATCHES] = { keys_of_patches, keys_of_bounds },
    [VISION_KEYS_TILES] = { keys_of_tiles, keys_of_size },
    [VISION_KEYS_VIDEOS] = { keys_of_videos, keys_of_bounds },
};

int vision_keys_check(const cJSON *settings, const char *file, vision_keys_kind kind,
                      lvlm_notes *notes, lvlm_error *err)
{
    char where[64];
    (void)snprintf(where, sizeof where, "%s: size", file);
    TRY(lvlm_keys_check(lvlm_json_get(settings, "size"), where, tables[kind].of_size,
                        notes, err));
    return lvlm_keys_check(settings, file, tables[kind].keys, notes, err);
}

int vision_keys_check_around(const cJSON *json, lvlm_notes *notes, lvlm_error *err)
{
    return lvlm_keys_check(json, "processor_config.json", keys_around, notes, err);
}
