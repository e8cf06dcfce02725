/* vision_settings.c - preprocessor_config.json in all its generations; see
 * vision_settings.h. */
#include "runtime/prepare/image/vision_settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/keys.h"
#include "formats/container/side_file.h"

enum { WORD_BYTES = 64 };

/* ---- processors ------------------------------------------------------------------ */

#define CLIP_MEAN                                                                      \
    {                                                                                  \
        0.48145466, 0.4578275, 0.40821073                                              \
    }
#define CLIP_STD                                                                       \
    {                                                                                  \
        0.26862954, 0.26130258, 0.27577711                                             \
    }
#define HALF                                                                           \
    {                                                                                  \
        0.5, 0.5, 0.5                                                                  \
    }

typedef struct processor {
    const char *word; /* the family's */
    /* none: there is no file, only defaults; the others are earlier names of the
     * first */
    const char *class_names[3];
    vision_settings defaults;
} processor;

static const processor processors[] = {
    { "openclip",
      { NULL },
      { .filter = LVLM_FILTER_BICUBIC,
        .scaling = VISION_SCALE_DIVIDE,
        .mean = CLIP_MEAN,
        .std = CLIP_STD,
        .alpha = LVLM_ALPHA_DROP } },
    { "siglip",
      { "SiglipImageProcessor" },
      { .filter = LVLM_FILTER_BICUBIC,
        .mean = HALF,
        .std = HALF,
        .alpha = LVLM_ALPHA_ON_WHITE,
        .side = 224 } },
    { "qwen2",
      { "Qwen2VLImageProcessor", "Qwen2_5_VLImageProcessor" },
      { .filter = LVLM_FILTER_BICUBIC,
        .mean = CLIP_MEAN,
        .std = CLIP_STD,
        .alpha = LVLM_ALPHA_ON_WHITE,
        .min_pixels = 56 * 56,
        .max_pixels = 28 * 28 * 1280,
        .patch = 14,
        .frames = 2,
        .merge = 2 } },
    { "tiles",
      { "MllamaImageProcessor" },
      { .filter = LVLM_FILTER_BILINEAR,
        .mean = HALF,
        .std = HALF,
        .alpha = LVLM_ALPHA_ON_WHITE,
        .side = 224,
        .tiles = 4 } },
};

/* ---- the file ------------------------------------------------------------------- */

typedef struct reader {
    const char *file;    /* its name, for messages */
    const cJSON *object; /* the settings in it */
    cJSON *json;         /* owned */
    lvlm_notes *notes;
} reader;

static int find_settings(reader *r, const lvlm_checkpoint *checkpoint, lvlm_error *err)
{
    const lvlm_side_file *file =
        lvlm_checkpoint_side_file(checkpoint, "processor_config.json");
    if (file != NULL) {
        TRY(lvlm_side_file_parse(&r->json, file, err));
        r->object = lvlm_json_get(r->json, "image_processor");
        r->file = "processor_config.json: image_processor";
        if (r->object != NULL) return 0; /* null is invalid too */
        lvlm_json_free(r->json);
        r->json = NULL;
    }
    file = lvlm_checkpoint_side_file(checkpoint, "preprocessor_config.json");
    FAIL_IF(file == NULL, err, LVLM_EFORMAT,
            "has no preprocessor_config.json, so images cannot be prepared for it; "
            "convert again from a directory that has one");
    TRY(lvlm_side_file_parse(&r->json, file, err));
    r->object = r->json;
    r->file = file->name;
    return 0;
}

/* A member that is present and not null, or NULL. */
static const cJSON *given(const cJSON *object, const char *key)
{
    const cJSON *const item = lvlm_json_get(object, key);
    return cJSON_IsNull(item) ? NULL : item;
}

static int wrong(const reader *r, const char *key, const char *expected,
                 lvlm_error *err)
{
    char *text = NULL;
    if (lvlm_json_print(&text, lvlm_json_path(r->object, key), NULL) < 0)
        return lvlm_fail_memory(err);
    const int rc = lvlm_fail(err, LVLM_EFORMAT, "%s: %s is %.*s, expected %s", r->file,
                             key, WORD_BYTES, text, expected);
    lvlm_free(text);
    return rc;
}

/* Null is the default in transformers 5, and false in earlier versions. */
static int read_flag(bool *out, const reader *r, const char *key, lvlm_error *err)
{
    const cJSON *const item = lvlm_json_get(r->object, key);
    if (item == NULL || (cJSON_IsNull(item) && !*out)) return 0;
    if (cJSON_IsNull(item))
        return lvlm_notes_add(r->notes, err,
                              "%s: '%s' is null: counts as true, as in transformers 5; "
                              "earlier versions read it as false",
                              r->file, key);
    if (!cJSON_IsBool(item)) return wrong(r, key, "true or false", err);
    *out = cJSON_IsTrue(item);
    return 0;
}

/* `path` may go through one object ("size.height"). */
static int read_count(uint64_t *out, const reader *r, const char *path, lvlm_error *err)
{
    const cJSON *const item = lvlm_json_path(r->object, path);
    if (item == NULL || cJSON_IsNull(item)) return 0;
    if (!lvlm_json_u64(out, item) || *out == 0)
        return wrong(r, path, "a whole number of at least 1", err);
    return 0;
}

/* One number for all channels, or one per channel. */
static int read_channels(double out[3], const reader *r, const char *key, bool above_0,
                         lvlm_error *err)
{
    const cJSON *const item = given(r->object, key);
    if (item == NULL) return 0;
    const bool is_list = lvlm_json_count(item) == 3;
    for (int c = 0; c < 3; c++) {
        const cJSON *const value = is_list ? lvlm_json_item(item, (size_t)c) : item;
        if (!lvlm_json_double(&out[c], value) || (above_0 && !(out[c] > 0)))
            return wrong(r, key,
                         above_0 ? "a number above 0, or three" : "a number, or three",
                         err);
    }
    return 0;
}

/* ---- what all processors have --------------------------------------------------- */

/* "SiglipImageProcessor", also with the suffix "Fast" or "Pil". */
static bool is_class(const char *word, const char *class_name)
{
    const size_t n = strlen(class_name);
    return strncmp(word, class_name, n) == 0 &&
           (word[n] == '\0' || strcmp(word + n, "Fast") == 0 ||
            strcmp(word + n, "Pil") == 0);
}

static int check_class(const reader *r, const processor *p, lvlm_error *err)
{
    const cJSON *const item = given(r->object, "image_processor_type");
    const char *const word = lvlm_json_string(item);
    if (item == NULL) return 0;
    for (size_t i = 0; word != NULL && p->class_names[i] != NULL; i++)
        if (is_class(word, p->class_names[i])) return 0;
    return wrong(r, "image_processor_type", p->class_names[0], err);
}

static int read_filter(lvlm_filter *out, const reader *r, lvlm_error *err)
{
    enum { PIL_BILINEAR = 2, PIL_BICUBIC = 3 };
    uint64_t code;
    const cJSON *const item = given(r->object, "resample");
    if (item == NULL) return 0;
    if (!lvlm_json_u64(&code, item) || (code != PIL_BILINEAR && code != PIL_BICUBIC))
        return wrong(r, "resample", "2 (bilinear) or 3 (bicubic)", err);
    *out = code == PIL_BICUBIC ? LVLM_FILTER_BICUBIC : LVLM_FILTER_BILINEAR;
    return 0;
}

static int read_common(vision_settings *s, const reader *r, lvlm_error *err)
{
    bool crop = false;
    const cJSON *const factor = given(r->object, "rescale_factor");
    TRY(read_flag(&s->resize, r, "do_resize", err));
    TRY(read_flag(&s->rescale, r, "do_rescale", err));
    TRY(read_flag(&s->normalize, r, "do_normalize", err));
    TRY(read_flag(&crop, r, "do_center_crop", err));
    if (crop) return wrong(r, "do_center_crop", "false", err);
    TRY(read_filter(&s->filter, r, err));
    if (factor != NULL && (!lvlm_json_double(&s->factor, factor) || s->factor <= 0))
        return wrong(r, "rescale_factor", "a number above 0", err);
    TRY(read_channels(s->mean, r, "image_mean", false, err));
    return read_channels(s->std, r, "image_std", true, err);
}

/* ---- sizes ---------------------------------------------------------------------- */

/* size: {height, width}, or one number for both if `plain`. */
static int read_square(vision_settings *s, const reader *r, bool plain, lvlm_error *err)
{
    static const char expected[] = "equal height and width";
    const cJSON *const size = given(r->object, "size");
    uint64_t height = 0, width = 0;
    if (size == NULL) return 0;
    if (plain && cJSON_IsNumber(size)) return read_count(&s->side, r, "size", err);
    TRY(read_count(&height, r, "size.height", err));
    TRY(read_count(&width, r, "size.width", err));
    if (height == 0 || height != width) return wrong(r, "size", expected, err);
    s->side = height;
    return 0;
}

/* One bound on the number of pixels: at the top level, under either name in size, or
 * the default without a size. */
static int read_bound(uint64_t *out, const reader *r, const char *top, const char *edge,
                      lvlm_error *err)
{
    char path[WORD_BYTES];
    uint64_t value = 0;
    TRY(read_count(&value, r, top, err));
    (void)snprintf(path, sizeof path, "size.%s", edge);
    if (value == 0) TRY(read_count(&value, r, path, err));
    (void)snprintf(path, sizeof path, "size.%s", top);
    if (value == 0) TRY(read_count(&value, r, path, err));
    if (value == 0 && given(r->object, "size") != NULL)
        return wrong(r, "size", "shortest_edge and longest_edge", err);
    if (value != 0) *out = value;
    return 0;
}

/* A count in the file that must equal the tower's. */
static int must_equal(const reader *r, const char *key, uint64_t got, size_t expected,
                      lvlm_error *err)
{
    FAIL_IF(got != expected, err, LVLM_EFORMAT,
            "%s: %s is %" PRIu64 ", the model takes %zu", r->file, key, got, expected);
    return 0;
}

static int read_squares(vision_settings *s, const reader *r, lvlm_error *err)
{
    TRY(read_square(s, r, false, err));
    const size_t expected = lvlm_image_rows_square(&s->model.rows, &s->model.images);
    uint64_t rows = expected;
    TRY(must_equal(r, "size", s->side, s->model.images.side, err));
    TRY(read_count(&rows, r, "image_seq_length", err));
    return must_equal(r, "image_seq_length", rows, expected, err);
}

static int read_patches(vision_settings *s, const reader *r, lvlm_error *err)
{
    const lvlm_image_spec *const tower = &s->model.images;
    TRY(read_count(&s->patch, r, "patch_size", err));
    TRY(read_count(&s->frames, r, "temporal_patch_size", err));
    TRY(read_count(&s->merge, r, "merge_size", err));
    TRY(must_equal(r, "patch_size", s->patch, tower->patch, err));
    TRY(must_equal(r, "temporal_patch_size", s->frames, tower->frames, err));
    TRY(must_equal(r, "merge_size", s->merge, tower->merge, err));
    TRY(read_bound(&s->min_pixels, r, "min_pixels", "shortest_edge", err));
    return read_bound(&s->max_pixels, r, "max_pixels", "longest_edge", err);
}

static int read_tiles(vision_settings *s, const reader *r, lvlm_error *err)
{
    bool pad = true;
    TRY(read_flag(&pad, r, "do_pad", err));
    if (!pad) return wrong(r, "do_pad", "true", err);
    if (!s->resize) return wrong(r, "do_resize", "true", err);
    TRY(read_square(s, r, true, err));
    TRY(read_count(&s->tiles, r, "max_image_tiles", err));
    TRY(must_equal(r, "size", s->side, s->model.images.side, err));
    return must_equal(r, "max_image_tiles", s->tiles, s->model.images.tiles, err);
}

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
    { "crop_size", INERT, "do_center_crop is refused" },                                \
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

static const lvlm_key keys_of_patches[] = {
    COMMON_KEYS,
    { "patch_size" },
    { "temporal_patch_size" },
    { "merge_size" },
    { "min_pixels" },
    { "max_pixels" },
    { "do_pad", NOTED, "images keep their shape", "false" },
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
    { "video_processor", INERT, "videos come as ready tensors" },
    { "feature_extractor", INERT, "of sound" },
    { "tokenizer", INERT, "has files of its own" },
    { "chat_template", INERT, "is read where prompts are written" },
    { "image_seq_length", INERT, "follows from image and patches" },
    { "image_token", INERT, "is the configuration's" },
    { "video_token", INERT, "likewise" },
    { "_*", INERT, "the class's own notes" },
    { "transformers_version", INERT, "says where the file came from" },
    { NULL },
};
// clang-format on

static int note_keys(const reader *r, lvlm_image_form form, lvlm_error *err)
{
    static const lvlm_key *const keys[] = {
        [LVLM_IMAGES_SQUARES] = keys_of_squares,
        [LVLM_IMAGES_PATCHES] = keys_of_patches,
        [LVLM_IMAGES_TILES] = keys_of_tiles,
    };
    char where[WORD_BYTES];
    (void)snprintf(where, sizeof where, "%s: size", r->file);
    if (r->json != r->object)
        TRY(lvlm_keys_check(r->json, "processor_config.json", keys_around, r->notes,
                            err));
    TRY(lvlm_keys_check(lvlm_json_get(r->object, "size"), where,
                        form == LVLM_IMAGES_PATCHES ? keys_of_bounds : keys_of_size,
                        r->notes, err));
    return lvlm_keys_check(r->object, r->file, keys[form], r->notes, err);
}

static int read_file(vision_settings *s, const reader *r, const processor *p,
                     lvlm_error *err)
{
    FAIL_IF(!cJSON_IsObject(r->object), err, LVLM_EFORMAT, "%s: is not an object",
            r->file);
    TRY(check_class(r, p, err));
    TRY(read_common(s, r, err));
    TRY(note_keys(r, s->model.images.form, err));
    switch (s->model.images.form) {
    case LVLM_IMAGES_SQUARES: return read_squares(s, r, err);
    case LVLM_IMAGES_PATCHES: return read_patches(s, r, err);
    case LVLM_IMAGES_TILES: return read_tiles(s, r, err);
    }
    return 0;
}

/* ---- all of it ------------------------------------------------------------------ */

static int choose(const processor **out, const lvlm_family *family, lvlm_error *err)
{
    FAIL_IF(family->processor == NULL, err, LVLM_EFORMAT,
            "%s: preparing images is not supported; only ready tensors are",
            family->title);
    for (size_t i = 0; i < sizeof processors / sizeof *processors; i++) {
        *out = &processors[i];
        if (strcmp(processors[i].word, family->processor) == 0) return 0;
    }
    return lvlm_fail(err, LVLM_EFORMAT, "%s: its processor '%s' is not known",
                     family->title, family->processor);
}

int vision_settings_read(vision_settings *out, const lvlm_manifest *manifest,
                         lvlm_resampling resampling, lvlm_error *err)
{
    const processor *p = NULL;
    const char *const path = manifest->checkpoint->path;
    reader r = { .notes = manifest->checkpoint->notes };
    lvlm_input_spec model;
    TRY(lvlm_input_spec_read(&model, manifest->config, err));
    TRY(choose(&p, manifest->family, err));
    *out = p->defaults;
    out->model = model;
    out->resize = out->rescale = out->normalize = true;
    out->factor = 1.0 / 255;
    if (p->class_names[0] == NULL) {
        FAIL_IF(resampling == LVLM_RESAMPLING_TORCHVISION, err, LVLM_EUSAGE,
                "%s: its images are resized only by Pillow, not by torchvision", path);
        out->side = model.images.side;
        return 0;
    }
    if (resampling == LVLM_RESAMPLING_TORCHVISION) out->scaling = VISION_SCALE_FUSED;
    int rc = find_settings(&r, manifest->checkpoint, err);
    if (rc == 0) rc = read_file(out, &r, p, err);
    if (rc < 0) lvlm_prefix(err, "%s: ", path);
    lvlm_json_free(r.json);
    return rc;
}

/* ---- levels --------------------------------------------------------------------- */

static float level(const vision_settings *s, unsigned v, size_t c)
{
    const bool fused = s->scaling == VISION_SCALE_FUSED;
    float mean = (float)s->mean[c], std = (float)s->std[c], x = (float)v;
    if (s->rescale && s->normalize && fused) {
        const float all = (float)(1.0 / s->factor);
        mean *= all;
        std *= all;
    } else if (s->rescale && fused) {
        x *= (float)s->factor;
    } else if (s->rescale) {
        x = s->scaling == VISION_SCALE_DIVIDE ? x / 255 : (float)(v * s->factor);
    }
    return s->normalize ? (x - mean) / std : x;
}

void vision_levels(float levels[3][256], const vision_settings *settings)
{
    for (size_t c = 0; c < 3; c++)
        for (unsigned v = 0; v < 256; v++) levels[c][v] = level(settings, v, c);
}
