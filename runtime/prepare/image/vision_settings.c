/* vision_settings.c - preprocessor_config.json in all its generations; see
 * vision_settings.h. */
#include "runtime/prepare/image/vision_settings.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/json.h"
#include "runtime/prepare/image/video_settings.h"
#include "runtime/prepare/image/vision_file.h"
#include "runtime/prepare/image/vision_keys.h"
#include "runtime/prepare/image/vision_rows.h"

enum { WORD_BYTES = 64 };

/* ---- processors ------------------------------------------------------------------ */

// clang-format off
#define CLIP .mean = { 0.48145466, 0.4578275, 0.40821073 }, \
             .std = { 0.26862954, 0.26130258, 0.27577711 }
#define HALF .mean = { 0.5, 0.5, 0.5 }, .std = { 0.5, 0.5, 0.5 }
// clang-format on

/* The class whose do_pad makes a picture a square before anything else. */
#define PADDING_CLASS "LlavaImageProcessor"

/* The word of families whose files may name any class that makes squares; without one,
 * the processor has the tower's name. */
static const char any_tower[] = "tower";

typedef struct processor {
    const char *word; /* the family's, or the tower's */
    /* none: there is no file, only defaults; the others are earlier names of the first,
     * or do the same */
    const char *class_names[4];
    vision_keys_kind keys;
    vision_settings defaults;
} processor;

// clang-format off
static const processor processors[] = {
    { "openclip", { NULL }, VISION_KEYS_SQUARES,
      { .filter = LVLM_FILTER_BICUBIC, CLIP, .scaling = VISION_SCALE_DIVIDE,
        .alpha = LVLM_ALPHA_DROP } },
    { "clip", { "CLIPImageProcessor", PADDING_CLASS, "CLIPFeatureExtractor" }, VISION_KEYS_CROPS,
      { .filter = LVLM_FILTER_BICUBIC, CLIP, .alpha = LVLM_ALPHA_ON_WHITE,
        .edge = 224, .by_edge = true, .crop = true, .side = 224 } },
    { "siglip", { "SiglipImageProcessor" }, VISION_KEYS_SQUARES,
      { .filter = LVLM_FILTER_BICUBIC, HALF, .alpha = LVLM_ALPHA_ON_WHITE, .side = 224 } },
    { "qwen2", { "Qwen2VLImageProcessor", "Qwen2_5_VLImageProcessor" }, VISION_KEYS_PATCHES,
      { .filter = LVLM_FILTER_BICUBIC, CLIP, .alpha = LVLM_ALPHA_ON_WHITE,
        .min_pixels = 56 * 56, .max_pixels = 28 * 28 * 1280,
        .patch = 14, .frames = 2, .merge = 2 } },
    { "tiles", { "MllamaImageProcessor" }, VISION_KEYS_TILES,
      { .filter = LVLM_FILTER_BILINEAR, HALF, .alpha = LVLM_ALPHA_ON_WHITE,
        .side = 224, .tiles = 4 } },
};
// clang-format on

enum { N_PROCESSORS = sizeof processors / sizeof *processors };

/* ---- what all processors have --------------------------------------------------- */

/* One number for all channels, or one per channel. */
static int read_channels(double out[3], const vision_file *file, const char *key,
                         bool above_0, lvlm_error *err)
{
    const cJSON *const item = lvlm_json_given(file->object, key);
    if (item == NULL) return 0;
    const bool is_list = lvlm_json_count(item) == 3;
    for (int c = 0; c < 3; c++) {
        const cJSON *const value = is_list ? lvlm_json_item(item, (size_t)c) : item;
        if (!lvlm_json_double(&out[c], value) || (above_0 && !(out[c] > 0)))
            return vision_file_wrong(
                file, key,
                above_0 ? "a number above 0, or three" : "a number, or three", err);
    }
    return 0;
}

/* "SiglipImageProcessor", also with the suffix "Fast" or "Pil". */
static bool is_class(const char *word, const char *class_name)
{
    const size_t n = strlen(class_name);
    return strncmp(word, class_name, n) == 0 &&
           (word[n] == '\0' || strcmp(word + n, "Fast") == 0 ||
            strcmp(word + n, "Pil") == 0);
}

/* The key that names the class; files of old versions have the other. */
static const char *class_key(const vision_file *file)
{
    return lvlm_json_given(file->object, "image_processor_type") != NULL
               ? "image_processor_type"
               : "feature_extractor_type";
}

static bool has_class(const vision_file *file, const processor *p)
{
    const char *const word =
        lvlm_json_string(lvlm_json_given(file->object, class_key(file)));
    for (size_t i = 0; word != NULL && p->class_names[i] != NULL; i++)
        if (is_class(word, p->class_names[i])) return true;
    return false;
}

static int check_class(const vision_file *file, const processor *p, lvlm_error *err)
{
    if (lvlm_json_given(file->object, class_key(file)) == NULL || has_class(file, p))
        return 0;
    return vision_file_wrong(file, class_key(file), p->class_names[0], err);
}

static int read_filter(lvlm_filter *out, const vision_file *file, lvlm_error *err)
{
    enum { PIL_BILINEAR = 2, PIL_BICUBIC = 3 };
    uint64_t code;
    const cJSON *const item = lvlm_json_given(file->object, "resample");
    if (item == NULL) return 0;
    if (!lvlm_json_u64(&code, item) || (code != PIL_BILINEAR && code != PIL_BICUBIC))
        return vision_file_wrong(file, "resample", "2 (bilinear) or 3 (bicubic)", err);
    *out = code == PIL_BICUBIC ? LVLM_FILTER_BICUBIC : LVLM_FILTER_BILINEAR;
    return 0;
}

static int read_common(vision_settings *s, const vision_file *file, lvlm_error *err)
{
    const bool may_crop = s->crop;
    TRY(vision_file_flag(&s->resize, file, "do_resize", err));
    TRY(vision_file_flag(&s->rescale, file, "do_rescale", err));
    TRY(vision_file_flag(&s->normalize, file, "do_normalize", err));
    TRY(vision_file_flag(&s->crop, file, "do_center_crop", err));
    if (s->crop && !may_crop)
        return vision_file_wrong(file, "do_center_crop", "false", err);
    TRY(read_filter(&s->filter, file, err));
    TRY(vision_file_above_0(&s->factor, file, "rescale_factor", err));
    TRY(read_channels(s->mean, file, "image_mean", false, err));
    return read_channels(s->std, file, "image_std", true, err);
}

/* ---- sizes ---------------------------------------------------------------------- */

/* {height, width}, or one number for both if `plain`. */
static int read_square(uint64_t *side, const vision_file *file, const char *key,
                       bool plain, lvlm_error *err)
{
    char path[WORD_BYTES];
    const cJSON *const size = lvlm_json_given(file->object, key);
    uint64_t height = 0, width = 0;
    if (size == NULL) return 0;
    if (plain && cJSON_IsNumber(size)) return vision_file_count(side, file, key, err);
    (void)snprintf(path, sizeof path, "%s.height", key);
    TRY(vision_file_count(&height, file, path, err));
    (void)snprintf(path, sizeof path, "%s.width", key);
    TRY(vision_file_count(&width, file, path, err));
    if (height == 0 || height != width)
        return vision_file_wrong(file, key, "equal height and width", err);
    *side = height;
    return 0;
}

/* size: {shortest_edge}, or a number that means the same, or {height, width}. */
static int read_edge(vision_settings *s, const vision_file *file, lvlm_error *err)
{
    const cJSON *const size = lvlm_json_given(file->object, "size");
    s->by_edge = size == NULL || cJSON_IsNumber(size) ||
                 lvlm_json_given(size, "shortest_edge") != NULL;
    if (!s->by_edge) return read_square(&s->edge, file, "size", false, err);
    if (lvlm_json_given(size, "longest_edge") != NULL ||
        lvlm_json_given(size, "height") != NULL)
        return vision_file_wrong(file, "size",
                                 "shortest_edge, or equal height and width", err);
    return vision_file_count(&s->edge, file,
                             cJSON_IsNumber(size) ? "size" : "size.shortest_edge", err);
}

/* One bound on the number of pixels: at the top level, under either name in size, or
 * the default without a size. */
static int read_bound(uint64_t *out, const vision_file *file, const char *top,
                      const char *edge, lvlm_error *err)
{
    char path[WORD_BYTES];
    uint64_t value = 0;
    TRY(vision_file_count(&value, file, top, err));
    (void)snprintf(path, sizeof path, "size.%s", edge);
    if (value == 0) TRY(vision_file_count(&value, file, path, err));
    (void)snprintf(path, sizeof path, "size.%s", top);
    if (value == 0) TRY(vision_file_count(&value, file, path, err));
    if (value == 0 && lvlm_json_given(file->object, "size") != NULL)
        return vision_file_wrong(file, "size", "shortest_edge and longest_edge", err);
    if (value != 0) *out = value;
    return 0;
}

/* A count in the file that must equal the tower's. */
static int must_equal(const vision_file *file, const char *key, uint64_t got,
                      size_t expected, lvlm_error *err)
{
    FAIL_IF(got != expected, err, LVLM_EFORMAT,
            "%s: %s is %" PRIu64 ", the model takes %zu", file->name, key, got,
            expected);
    return 0;
}

/* The same, of a count that is read here. */
static int read_equal(uint64_t *out, const vision_file *file, const char *key,
                      size_t expected, lvlm_error *err)
{
    TRY(vision_file_count(out, file, key, err));
    return must_equal(file, key, *out, expected, err);
}

/* The class that pads does it before it resizes. */
static int read_pad(vision_settings *s, const vision_file *file, lvlm_error *err)
{
    const char *const word =
        lvlm_json_string(lvlm_json_given(file->object, class_key(file)));
    bool pad = false;
    TRY(vision_file_flag(&pad, file, "do_pad", err));
    if (pad && (word == NULL || !is_class(word, PADDING_CLASS)))
        return vision_file_wrong(file, "do_pad",
                                 "false with any class but " PADDING_CLASS, err);
    s->pad = s->pad || pad;
    return 0;
}

/* Squares of the tower's side: resized to it, or cut from the middle. */
static int read_squares(vision_settings *s, const vision_file *file, bool cropping,
                        lvlm_error *err)
{
    const size_t expected = lvlm_image_rows_square(&s->model.rows, &s->model.images);
    uint64_t rows = expected;
    if (cropping) {
        TRY(read_pad(s, file, err));
        TRY(read_edge(s, file, err));
        TRY(read_square(&s->side, file, "crop_size", true, err));
        if (!s->crop) s->side = s->edge;
    } else {
        TRY(read_square(&s->side, file, "size", false, err));
    }
    TRY(must_equal(file, s->crop ? "crop_size" : "size", s->side, s->model.images.side,
                   err));
    return read_equal(&rows, file, "image_seq_length", expected, err);
}

static int read_patches(vision_settings *s, const vision_file *file, lvlm_error *err)
{
    const lvlm_image_spec *const tower = &s->model.images;
    TRY(read_equal(&s->patch, file, "patch_size", tower->patch, err));
    TRY(read_equal(&s->frames, file, "temporal_patch_size", tower->frames, err));
    TRY(read_equal(&s->merge, file, "merge_size", tower->merge, err));
    TRY(read_bound(&s->min_pixels, file, "min_pixels", "shortest_edge", err));
    return read_bound(&s->max_pixels, file, "max_pixels", "longest_edge", err);
}

static int read_tiles(vision_settings *s, const vision_file *file, lvlm_error *err)
{
    bool pad = true;
    TRY(vision_file_flag(&pad, file, "do_pad", err));
    if (!pad) return vision_file_wrong(file, "do_pad", "true", err);
    if (!s->resize) return vision_file_wrong(file, "do_resize", "true", err);
    TRY(read_square(&s->side, file, "size", true, err));
    TRY(must_equal(file, "size", s->side, s->model.images.side, err));
    return read_equal(&s->tiles, file, "max_image_tiles", s->model.images.tiles, err);
}

static int read_file(vision_settings *s, const vision_file *file, const processor *p,
                     lvlm_error *err)
{
    FAIL_IF(!cJSON_IsObject(file->object), err, LVLM_EFORMAT, "%s: is not an object",
            file->name);
    TRY(check_class(file, p, err));
    TRY(read_common(s, file, err));
    if (file->json != file->object)
        TRY(vision_keys_check_around(file->json, file->notes, err));
    const vision_keys_kind keys = file->videos ? VISION_KEYS_VIDEOS : p->keys;
    TRY(vision_keys_check(file->object, file->name, keys, file->notes, err));
    if (file->videos) TRY(video_settings_read(&s->videos, file, err));
    switch (p->keys) {
    case VISION_KEYS_SQUARES: return read_squares(s, file, false, err);
    case VISION_KEYS_CROPS: return read_squares(s, file, true, err);
    case VISION_KEYS_VIDEOS: /* of patches too */
    case VISION_KEYS_PATCHES: return read_patches(s, file, err);
    case VISION_KEYS_TILES: return read_tiles(s, file, err);
    }
    return 0;
}

/* ---- all of it ------------------------------------------------------------------ */

static int choose(const processor **out, const lvlm_manifest *manifest, lvlm_error *err)
{
    const lvlm_family *const family = manifest->family;
    FAIL_IF(family->processor == NULL, err, LVLM_EFORMAT,
            "%s: preparing images is not supported; only ready tensors are",
            family->title);
    const char *word = family->processor;
    if (strcmp(word, any_tower) == 0)
        word = lvlm_json_string(lvlm_json_path(manifest->config, "vision.tower"));
    for (size_t i = 0; word != NULL && i < N_PROCESSORS; i++) {
        *out = &processors[i];
        if (strcmp(processors[i].word, word) == 0) return 0;
    }
    return lvlm_fail(err, LVLM_EFORMAT, "%s: its processor '%s' is not known",
                     family->title, word != NULL ? word : family->processor);
}

/* Any class that makes squares goes with any tower that takes them. */
static const processor *of_class(const processor *p, const vision_file *file,
                                 const lvlm_family *family)
{
    if (strcmp(family->processor, any_tower) != 0) return p;
    for (size_t i = 0; i < N_PROCESSORS; i++)
        if (processors[i].keys <= VISION_KEYS_CROPS && has_class(file, &processors[i]))
            return &processors[i];
    return p;
}

static void set_defaults(vision_settings *out, const processor *p,
                         const lvlm_vision_options *options)
{
    const lvlm_input_spec model = out->model;
    *out = p->defaults;
    out->model = model;
    out->resize = out->rescale = out->normalize = true;
    out->factor = 1.0 / 255;
    out->pad = options->pad_to_square;
    if (options->drop_alpha) out->alpha = LVLM_ALPHA_DROP;
    out->resampling = options->resampling;
    if (options->resampling == LVLM_RESAMPLING_TORCHVISION)
        out->scaling = VISION_SCALE_FUSED;
}

static int read_files(vision_settings *out, const lvlm_manifest *manifest,
                      const processor *p, const lvlm_vision_options *options,
                      bool videos, lvlm_error *err)
{
    vision_file file;
    int rc = vision_file_find(&file, manifest->checkpoint, videos, err);
    if (rc == 0) {
        p = of_class(p, &file, manifest->family);
        set_defaults(out, p, options);
        if (videos) video_settings_init(out);
        rc = read_file(out, &file, p, err);
    }
    if (rc == 0)
        rc = vision_rows_check(manifest->checkpoint, &out->model, out->side, err);
    if (rc < 0) lvlm_prefix(err, "%s: ", manifest->checkpoint->path);
    vision_file_free(&file);
    return rc;
}

int vision_settings_read(vision_settings *out, const lvlm_manifest *manifest,
                         const lvlm_vision_options *options, bool videos,
                         lvlm_error *err)
{
    assert(options != NULL);
    const processor *p = NULL;
    const char *const path = manifest->checkpoint->path;
    const bool torch = options->resampling == LVLM_RESAMPLING_TORCHVISION;
    *out = (vision_settings){ .resize = false };
    TRY(lvlm_input_spec_read(&out->model, manifest->config, err));
    TRY(choose(&p, manifest, err));
    FAIL_IF(videos && (p->keys != VISION_KEYS_PATCHES || out->model.video_token < 0),
            err, LVLM_EFORMAT, "%s: takes no videos", path);
    FAIL_IF(
        options->pad_to_square && strcmp(manifest->family->processor, any_tower) != 0,
        err, LVLM_EUSAGE, "%s: its images are not padded to squares", path);
    if (p->class_names[0] != NULL)
        return read_files(out, manifest, p, options, videos, err);
    FAIL_IF(torch, err, LVLM_EUSAGE,
            "%s: its images are resized only by Pillow, not by torchvision", path);
    set_defaults(out, p, options);
    out->side = out->model.images.side;
    return 0;
}
