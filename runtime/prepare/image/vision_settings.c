/* vision_settings.c - preprocessor_config.json in all its generations; see
 * vision_settings.h. */
#include "runtime/prepare/image/vision_settings.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/container/side_file.h"
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

/* ---- the file ------------------------------------------------------------------- */

typedef struct reader {
    const char *file;    /* its name, for messages */
    const cJSON *object; /* the settings in it */
    cJSON *json;         /* owned */
    lvlm_notes *notes;
    bool videos; /* those of videos */
} reader;

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
    const cJSON *const item = lvlm_json_given(r->object, key);
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

/* The key that names the class; files of old versions have the other. */
static const char *class_key(const reader *r)
{
    return lvlm_json_given(r->object, "image_processor_type") != NULL
               ? "image_processor_type"
               : "feature_extractor_type";
}

static bool has_class(const reader *r, const processor *p)
{
    const char *const word = lvlm_json_string(lvlm_json_given(r->object, class_key(r)));
    for (size_t i = 0; word != NULL && p->class_names[i] != NULL; i++)
        if (is_class(word, p->class_names[i])) return true;
    return false;
}

static int check_class(const reader *r, const processor *p, lvlm_error *err)
{
    if (lvlm_json_given(r->object, class_key(r)) == NULL || has_class(r, p)) return 0;
    return wrong(r, class_key(r), p->class_names[0], err);
}

static int read_filter(lvlm_filter *out, const reader *r, lvlm_error *err)
{
    enum { PIL_BILINEAR = 2, PIL_BICUBIC = 3 };
    uint64_t code;
    const cJSON *const item = lvlm_json_given(r->object, "resample");
    if (item == NULL) return 0;
    if (!lvlm_json_u64(&code, item) || (code != PIL_BILINEAR && code != PIL_BICUBIC))
        return wrong(r, "resample", "2 (bilinear) or 3 (bicubic)", err);
    *out = code == PIL_BICUBIC ? LVLM_FILTER_BICUBIC : LVLM_FILTER_BILINEAR;
    return 0;
}

static int read_common(vision_settings *s, const reader *r, lvlm_error *err)
{
    const bool may_crop = s->crop;
    const cJSON *const factor = lvlm_json_given(r->object, "rescale_factor");
    TRY(read_flag(&s->resize, r, "do_resize", err));
    TRY(read_flag(&s->rescale, r, "do_rescale", err));
    TRY(read_flag(&s->normalize, r, "do_normalize", err));
    TRY(read_flag(&s->crop, r, "do_center_crop", err));
    if (s->crop && !may_crop) return wrong(r, "do_center_crop", "false", err);
    TRY(read_filter(&s->filter, r, err));
    if (factor != NULL && (!lvlm_json_double(&s->factor, factor) || s->factor <= 0))
        return wrong(r, "rescale_factor", "a number above 0", err);
    TRY(read_channels(s->mean, r, "image_mean", false, err));
    return read_channels(s->std, r, "image_std", true, err);
}

/* ---- sizes ---------------------------------------------------------------------- */

/* {height, width}, or one number for both if `plain`. */
static int read_square(uint64_t *side, const reader *r, const char *key, bool plain,
                       lvlm_error *err)
{
    char path[WORD_BYTES];
    const cJSON *const size = lvlm_json_given(r->object, key);
    uint64_t height = 0, width = 0;
    if (size == NULL) return 0;
    if (plain && cJSON_IsNumber(size)) return read_count(side, r, key, err);
    (void)snprintf(path, sizeof path, "%s.height", key);
    TRY(read_count(&height, r, path, err));
    (void)snprintf(path, sizeof path, "%s.width", key);
    TRY(read_count(&width, r, path, err));
    if (height == 0 || height != width)
        return wrong(r, key, "equal height and width", err);
    *side = height;
    return 0;
}

/* size: {shortest_edge}, or a number that means the same, or {height, width}. */
static int read_edge(vision_settings *s, const reader *r, lvlm_error *err)
{
    const cJSON *const size = lvlm_json_given(r->object, "size");
    s->by_edge = size == NULL || cJSON_IsNumber(size) ||
                 lvlm_json_given(size, "shortest_edge") != NULL;
    if (!s->by_edge) return read_square(&s->edge, r, "size", false, err);
    if (lvlm_json_given(size, "longest_edge") != NULL ||
        lvlm_json_given(size, "height") != NULL)
        return wrong(r, "size", "shortest_edge, or equal height and width", err);
    return read_count(&s->edge, r, cJSON_IsNumber(size) ? "size" : "size.shortest_edge",
                      err);
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
    if (value == 0 && lvlm_json_given(r->object, "size") != NULL)
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

/* The same, of a count that is read here. */
static int read_equal(uint64_t *out, const reader *r, const char *key, size_t expected,
                      lvlm_error *err)
{
    TRY(read_count(out, r, key, err));
    return must_equal(r, key, *out, expected, err);
}

/* The class that pads does it before it resizes. */
static int read_pad(vision_settings *s, const reader *r, lvlm_error *err)
{
    const char *const word = lvlm_json_string(lvlm_json_given(r->object, class_key(r)));
    bool pad = false;
    TRY(read_flag(&pad, r, "do_pad", err));
    if (pad && (word == NULL || !is_class(word, PADDING_CLASS)))
        return wrong(r, "do_pad", "false with any class but " PADDING_CLASS, err);
    s->pad = s->pad || pad;
    return 0;
}

/* Squares of the tower's side: resized to it, or cut from the middle. */
static int read_squares(vision_settings *s, const reader *r, bool cropping,
                        lvlm_error *err)
{
    const size_t expected = lvlm_image_rows_square(&s->model.rows, &s->model.images);
    uint64_t rows = expected;
    if (cropping) {
        TRY(read_pad(s, r, err));
        TRY(read_edge(s, r, err));
        TRY(read_square(&s->side, r, "crop_size", true, err));
        if (!s->crop) s->side = s->edge;
    } else {
        TRY(read_square(&s->side, r, "size", false, err));
    }
    TRY(must_equal(r, s->crop ? "crop_size" : "size", s->side, s->model.images.side,
                   err));
    return read_equal(&rows, r, "image_seq_length", expected, err);
}

static int read_patches(vision_settings *s, const reader *r, lvlm_error *err)
{
    const lvlm_image_spec *const tower = &s->model.images;
    TRY(read_equal(&s->patch, r, "patch_size", tower->patch, err));
    TRY(read_equal(&s->frames, r, "temporal_patch_size", tower->frames, err));
    TRY(read_equal(&s->merge, r, "merge_size", tower->merge, err));
    TRY(read_bound(&s->min_pixels, r, "min_pixels", "shortest_edge", err));
    return read_bound(&s->max_pixels, r, "max_pixels", "longest_edge", err);
}

static int read_tiles(vision_settings *s, const reader *r, lvlm_error *err)
{
    bool pad = true;
    TRY(read_flag(&pad, r, "do_pad", err));
    if (!pad) return wrong(r, "do_pad", "true", err);
    if (!s->resize) return wrong(r, "do_resize", "true", err);
    TRY(read_square(&s->side, r, "size", true, err));
    TRY(must_equal(r, "size", s->side, s->model.images.side, err));
    return read_equal(&s->tiles, r, "max_image_tiles", s->model.images.tiles, err);
}

static int read_file(vision_settings *s, const reader *r, const processor *p,
                     lvlm_error *err)
{
    FAIL_IF(!cJSON_IsObject(r->object), err, LVLM_EFORMAT, "%s: is not an object",
            r->file);
    TRY(check_class(r, p, err));
    TRY(read_common(s, r, err));
    if (r->json != r->object) TRY(vision_keys_check_around(r->json, r->notes, err));
    const vision_keys_kind keys = r->videos ? VISION_KEYS_VIDEOS : p->keys;
    TRY(vision_keys_check(r->object, r->file, keys, r->notes, err));
    if (r->videos) TRY(video_settings_read(&s->videos, r->object, r->file, err));
    switch (p->keys) {
    case VISION_KEYS_SQUARES: return read_squares(s, r, false, err);
    case VISION_KEYS_CROPS: return read_squares(s, r, true, err);
    case VISION_KEYS_VIDEOS: /* of patches too */
    case VISION_KEYS_PATCHES: return read_patches(s, r, err);
    case VISION_KEYS_TILES: return read_tiles(s, r, err);
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
static const processor *of_class(const processor *p, const reader *r,
                                 const lvlm_family *family)
{
    if (strcmp(family->processor, any_tower) != 0) return p;
    for (size_t i = 0; i < N_PROCESSORS; i++)
        if (processors[i].keys <= VISION_KEYS_CROPS && has_class(r, &processors[i]))
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
    out->resampling = options->resampling;
    if (options->resampling == LVLM_RESAMPLING_TORCHVISION)
        out->scaling = VISION_SCALE_FUSED;
}

static int read_files(vision_settings *out, const lvlm_manifest *manifest,
                      const processor *p, const lvlm_vision_options *options,
                      bool videos, lvlm_error *err)
{
    reader r = { .notes = manifest->checkpoint->notes, .videos = videos };
    int rc = vision_file_find(&r.object, &r.json, &r.file, manifest->checkpoint, videos,
                              err);
    if (rc == 0) {
        p = of_class(p, &r, manifest->family);
        set_defaults(out, p, options);
        if (videos) video_settings_init(out);
        rc = read_file(out, &r, p, err);
    }
    if (rc == 0)
        rc = vision_rows_check(manifest->checkpoint, &out->model, out->side, err);
    if (rc < 0) lvlm_prefix(err, "%s: ", manifest->checkpoint->path);
    lvlm_json_free(r.json);
    return rc;
}

int vision_settings_read(vision_settings *out, const lvlm_manifest *manifest,
                         const lvlm_vision_options *options, lvlm_error *err)
{
    assert(options != NULL);
    const processor *p = NULL;
    const char *const path = manifest->checkpoint->path;
    const bool torch = options->resampling == LVLM_RESAMPLING_TORCHVISION;
    *out = (vision_settings){ .resize = false };
    TRY(lvlm_input_spec_read(&out->model, manifest->config, err));
    TRY(choose(&p, manifest, err));
    FAIL_IF(
        options->pad_to_square && strcmp(manifest->family->processor, any_tower) != 0,
        err, LVLM_EUSAGE, "%s: its images are not padded to squares", path);
    if (p->class_names[0] != NULL)
        return read_files(out, manifest, p, options, false, err);
    FAIL_IF(torch, err, LVLM_EUSAGE,
            "%s: its images are resized only by Pillow, not by torchvision", path);
    set_defaults(out, p, options);
    out->side = out->model.images.side;
    return 0;
}

int vision_settings_read_videos(vision_settings *out, const lvlm_manifest *manifest,
                                const lvlm_vision_options *options, lvlm_error *err)
{
    const processor *p = NULL;
    *out = (vision_settings){ .resize = false };
    TRY(lvlm_input_spec_read(&out->model, manifest->config, err));
    TRY(choose(&p, manifest, err));
    FAIL_IF(p->keys != VISION_KEYS_PATCHES || out->model.video_token < 0, err,
            LVLM_EFORMAT, "%s: takes no videos", manifest->checkpoint->path);
    return read_files(out, manifest, p, options, true, err);
}
