/* reshape_config.c - the configuration of a model with other sizes.
 *
 *   config.json               vocab_size, image_size, rows of a picture in the text
 *   preprocessor_config.json  the size that pictures are resized to, and those rows
 *   processor_config.json     the same, as newer versions save it
 *
 * A file is printed as transformers does, its members in their order; one in which
 * nothing changes stays byte for byte. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/container/side_file.h"
#include "formats/reshape/reshape.h"

/* ---- members --------------------------------------------------------------------- */

/* Set a number where it is. True if it is there and differs. */
static bool set_present(cJSON *object, const char *key, uint64_t value)
{
    uint64_t now;
    cJSON *const item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!lvlm_json_u64(&now, item) || now == value) return false;
    cJSON_SetNumberValue(item, (double)value);
    return true;
}

/* Set the number at "a.b" or "b"; what is absent is added only if `add`. False: it is
 * absent, or memory is. */
static bool set_path(cJSON *top, const char *path, size_t length, uint64_t value,
                     bool add)
{
    char text[128];
    assert(length < sizeof text);
    memcpy(text, path, length);
    text[length] = '\0';
    char *const dot = strchr(text, '.'), *const key = dot != NULL ? dot + 1 : text;
    if (dot != NULL) *dot = '\0';
    cJSON *section = dot != NULL ? cJSON_GetObjectItemCaseSensitive(top, text) : top;
    if (section == NULL && add) section = cJSON_AddObjectToObject(top, text);
    if (!add && lvlm_json_get(section, key) == NULL) return false;
    return lvlm_json_set(section, key, cJSON_CreateNumber((double)value));
}

static const lvlm_setting *find_setting(const lvlm_reshape *r, const char *canonical)
{
    lvlm_setting_walk walk = { .config = r->manifest.config,
                               .table = r->manifest.family->settings };
    const lvlm_setting *s, *found = NULL;
    while ((s = lvlm_setting_next(&walk)) != NULL)
        if (strcmp(s->canonical, canonical) == 0 && s->paths != NULL) found = s;
    return found;
}

/* Set a setting in config.json, everywhere where it is. */
static int set_setting(const lvlm_reshape *r, cJSON *top, const char *canonical,
                       uint64_t value, lvlm_error *err)
{
    const lvlm_setting *const setting = find_setting(r, canonical);
    bool set = false;
    assert(setting != NULL);
    for (const char *at = setting->paths; *at != '\0';) {
        const size_t length = strcspn(at, "|");
        set |= set_path(top, at, length, value, false);
        at += length + (at[length] == '|');
    }
    if (!set)
        set = set_path(top, setting->paths, strcspn(setting->paths, "|"), value, true);
    return set ? 0 : lvlm_fail_memory(err);
}

/* ---- the picture ----------------------------------------------------------------- */

/* Rows of one picture in the text. */
static uint64_t image_rows(const cJSON *config)
{
    const uint64_t grid = lvlm_json_whole(config, "vision.grid");
    const uint64_t merge = lvlm_json_whole(config, "vision.merge");
    if (lvlm_config_says(config, "connector.kind resampler"))
        return lvlm_json_whole(config, "connector.queries");
    if (merge > 0) return grid * grid / (merge * merge);
    return lvlm_config_says(config, "vision.select_rows all") &&
                   lvlm_json_whole(config, "vision.rows") > 0
               ? lvlm_json_whole(config, "vision.rows")
               : grid * grid;
}

/* Members of a processor's file. */
static bool edit_processor(cJSON *top, uint64_t pixels, uint64_t rows)
{
    static const char *const sizes[] = { "size", "crop_size" };
    static const char *const sides[] = { "height", "width", "shortest_edge" };
    bool changed = set_present(top, "image_seq_length", rows);
    for (size_t i = 0; i < 2; i++) {
        cJSON *const size = cJSON_GetObjectItemCaseSensitive(top, sizes[i]);
        changed |= set_present(top, sizes[i], pixels);
        for (size_t k = 0; k < 3; k++) changed |= set_present(size, sides[k], pixels);
    }
    return changed;
}

/* ---- files ----------------------------------------------------------------------- */

static int add_file(lvlm_reshape *r, const char *name, const cJSON *json,
                    lvlm_error *err)
{
    char *text = NULL;
    assert(r->n_files < LVLM_RESHAPE_FILES);
    TRY(lvlm_json_print_pretty(&text, json, err));
    const char *const copy = lvlm_arena_strndup(&r->arena, text, strlen(text));
    lvlm_free(text);
    if (copy == NULL) return lvlm_fail_memory(err);
    r->files[r->n_files++] = (lvlm_reshape_file){ name, copy };
    return 0;
}

static int change_processor(lvlm_reshape *r, const char *name, lvlm_error *err)
{
    cJSON *json = NULL;
    TRY(lvlm_side_file_json(&json, r->model, name, err));
    const uint64_t pixels = r->resolution, rows = image_rows(r->config);
    bool changed = edit_processor(json, pixels, rows);
    changed |= edit_processor(cJSON_GetObjectItemCaseSensitive(json, "image_processor"),
                              pixels, rows);
    const int rc = changed ? add_file(r, name, json, err) : 0;
    lvlm_json_free(json);
    return rc;
}

/* ---- config.json ----------------------------------------------------------------- */

/* The canonical configuration of a config.json, with the model's numbers of rows unless
 * those change. *out is owned. */
static int canonical_of(cJSON **out, const lvlm_reshape *r, const cJSON *top,
                        bool rows_change, lvlm_error *err)
{
    const lvlm_row_count *count = r->manifest.family->row_counts;
    TRY(lvlm_family_config(out, r->manifest.family, top, err));
    for (; count->setting != NULL && !rows_change; count++)
        if (!set_path(*out, count->setting, strlen(count->setting),
                      lvlm_json_whole(r->manifest.config, count->setting), true))
            return lvlm_fail_memory(err);
    return 0;
}

static int check_file(const lvlm_reshape *r, const cJSON *top, lvlm_error *err)
{
    cJSON *config = NULL;
    const int rc = canonical_of(&config, r, top, false, err);
    const bool same = rc == 0 && cJSON_Compare(config, r->manifest.config, true);
    lvlm_json_free(config);
    TRY(rc);
    FAIL_IF(!same, err, LVLM_EFORMAT,
            "its config.json does not give its configuration; was it converted with "
            "another one, or by another version? Convert it again");
    return 0;
}

static int set_vocabulary(lvlm_reshape *r, cJSON *top, lvlm_error *err)
{
    const uint64_t rows = r->vocab;
    r->rows[1] = rows;
    (void)set_present(top, "vocab_size", rows);
    return set_setting(r, top, "text.vocab", rows, err);
}

static int set_resolution(lvlm_reshape *r, cJSON *top, lvlm_error *err)
{
    const uint64_t pixels = r->resolution;
    FAIL_IF(r->pixels[0] == 0, err, LVLM_EFORMAT,
            "--resolution: %s takes pictures of any size: positions of its tower are "
            "rotated in, and there is no table of them; min_pixels and max_pixels of "
            "its preprocessor_config.json are the limits",
            r->manifest.family->title);
    FAIL_IF(pixels == r->pixels[0], err, LVLM_EFORMAT,
            "--resolution %" PRIu64 ": the model takes pictures of that size", pixels);
    r->pixels[1] = pixels;
    return set_setting(r, top, "vision.image", pixels, err);
}

/* Rows of a picture, where config.json has them; LLaVA's class has a default. */
static int set_image_rows(const lvlm_reshape *r, cJSON *top, lvlm_error *err)
{
    static const char *const sections[] = { "text_config", "vision_config" };
    const uint64_t rows = image_rows(r->config);
    (void)set_present(top, "image_seq_length", rows);
    for (size_t i = 0; i < 2; i++)
        (void)set_present(cJSON_GetObjectItemCaseSensitive(top, sections[i]),
                          "num_image_tokens", rows);
    if (strcmp(r->manifest.family->name, "llava") != 0) return 0;
    return lvlm_json_set(top, "image_seq_length", cJSON_CreateNumber((double)rows))
               ? 0
               : lvlm_fail_memory(err);
}

static int edit(lvlm_reshape *r, cJSON *top, lvlm_error *err)
{
    const bool words = r->vocab > 0, pictures = r->resolution > 0;
    TRY(check_file(r, top, err));
    if (words) TRY(set_vocabulary(r, top, err));
    if (pictures) TRY(set_resolution(r, top, err));
    TRY(lvlm_within(canonical_of(&r->config, r, top, words, err), err,
                    "the result's "));
    if (pictures) TRY(set_image_rows(r, top, err));
    if (words || pictures) TRY(add_file(r, "config.json", top, err));
    if (!pictures) return 0;
    TRY(change_processor(r, "preprocessor_config.json", err));
    return change_processor(r, "processor_config.json", err);
}

int lvlm_reshape_config(lvlm_reshape *r, lvlm_error *err)
{
    cJSON *top = NULL;
    TRY(lvlm_side_file_json(&top, r->model, "config.json", err));
    FAIL_IF(top == NULL, err, LVLM_EFORMAT, "holds no config.json");
    const int rc = edit(r, top, err);
    lvlm_json_free(top);
    r->grid[0] = lvlm_json_whole(r->manifest.config, "vision.grid");
    r->grid[1] = lvlm_json_whole(r->config, "vision.grid");
    return rc;
}
