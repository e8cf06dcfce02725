/* pairs.c - which files of a tar are a pair; see pairs.h. */
#include "runtime/tune/data/pairs.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "formats/base/json.h"
#include "formats/base/list.h"
#include "formats/base/utf8.h"
#include "formats/container/tar.h"

/* ---- finding -------------------------------------------------------------------- */

static bool is_image(const char *kind)
{
    static const char *const kinds[] = { "jpg", "jpeg", "png", "webp" };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcasecmp(kind, kinds[i]) == 0) return true;
    return false;
}

/* The pair of a member with this name without its kind: the last one, or a new one. */
static int find_pair(lvlm_jsonl *out, const char *name, size_t n, lvlm_error *err)
{
    const char *const last = out->n > 0 ? out->pairs[out->n - 1].name : NULL;
    if (last != NULL && strlen(last) == n && memcmp(last, name, n) == 0) return 0;
    FAIL_IF(out->n == UINT32_MAX, err, LVLM_EFORMAT, "%s: more than %" PRIu32 " pairs",
            out->file->path, UINT32_MAX);
    TRY(lvlm_list_room(&out->values, &out->capacity, out->n, sizeof *out->values, err));
    lvlm_jsonl_pair *const pairs = lvlm_arena_room(&out->names, out->pairs, out->n,
                                                   &out->pairs_capacity, sizeof *pairs);
    if (pairs == NULL) return lvlm_fail_memory(err);
    out->pairs = pairs;
    pairs[out->n] = (lvlm_jsonl_pair){ lvlm_arena_strndup(&out->names, name, n) };
    if (pairs[out->n].name == NULL) return lvlm_fail_memory(err);
    out->values[out->n] = (lvlm_jsonl_value){ .line = (uint32_t)(out->n + 1) };
    out->n++;
    return 0;
}

static int take_member(lvlm_jsonl *out, const lvlm_tar_member *m, lvlm_error *err)
{
    const char *const base = lvlm_path_base(m->name), *const dot = strchr(base, '.');
    const char *const kind = dot != NULL ? dot + 1 : "";
    const bool text = strcasecmp(kind, "txt") == 0,
               json = strcasecmp(kind, "json") == 0;
    if (dot == base || (!text && !json && !is_image(kind))) return 0;
    TRY(find_pair(out, m->name, (size_t)(dot - m->name), err));
    lvlm_jsonl_pair *const pair = &out->pairs[out->n - 1];
    lvlm_jsonl_value *const value = &out->values[out->n - 1];
    if (!text && !json) {
        pair->image = lvlm_arena_printf(&out->names, "%s/%s", out->file->path, m->name);
        pair->n_images++;
        return pair->image != NULL ? 0 : lvlm_fail_memory(err);
    }
    if (json && pair->caption != LVLM_CAPTION_NONE) return 0;
    FAIL_IF(m->n_bytes > LVLM_JSONL_MAX_VALUE, err, LVLM_EFORMAT,
            "%s: %s: %" PRIu64 " bytes, at most %d", out->file->path, m->name,
            m->n_bytes, LVLM_JSONL_MAX_VALUE);
    pair->caption = text ? LVLM_CAPTION_TEXT : LVLM_CAPTION_JSON;
    value->offset = m->offset;
    value->n_bytes = (uint32_t)m->n_bytes;
    return 0;
}

int lvlm_pairs_read(lvlm_jsonl *out, const lvlm_infile *file, lvlm_error *err)
{
    lvlm_tar tar = { .file = file };
    lvlm_tar_member member;
    int rc;
    *out = (lvlm_jsonl){ .file = file };
    while ((rc = lvlm_tar_next(&member, &tar, err)) > 0)
        TRY(take_member(out, &member, err));
    TRY(rc);
    FAIL_IF(out->n == 0, err, LVLM_EFORMAT,
            "%s: holds no pair: expected NAME.jpg and NAME.txt and the like",
            file->path);
    return 0;
}

/* ---- one ------------------------------------------------------------------------ */

static int make_json(cJSON **out, const char *image, const char *caption,
                     lvlm_error *err)
{
    cJSON *const json = cJSON_CreateObject();
    if (cJSON_AddStringToObject(json, "image", image) == NULL ||
        cJSON_AddStringToObject(json, "caption", caption) == NULL) {
        lvlm_json_free(json);
        return lvlm_fail_memory(err);
    }
    *out = json;
    return 0;
}

static int parse_text(cJSON **out, const char *image, const char *text, size_t n,
                      lvlm_error *err)
{
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r')) n--;
    FAIL_IF(memchr(text, '\0', n) != NULL || !lvlm_utf8_valid(text, n), err,
            LVLM_EFORMAT, "its text is not UTF-8");
    lvlm_arena arena = LVLM_ARENA_INIT;
    const char *const caption = lvlm_arena_strndup(&arena, text, n);
    const int rc =
        caption != NULL ? make_json(out, image, caption, err) : lvlm_fail_memory(err);
    lvlm_arena_free(&arena);
    return rc;
}

static int parse_json(cJSON **out, const char *image, const char *text, size_t n,
                      lvlm_error *err)
{
    cJSON *json = NULL;
    TRY(lvlm_json_parse(&json, text, n, err));
    const char *caption = lvlm_json_string(lvlm_json_get(json, "caption"));
    if (caption == NULL) caption = lvlm_json_string(lvlm_json_get(json, "text"));
    const int rc = caption != NULL
                       ? make_json(out, image, caption, err)
                       : lvlm_fail(err, LVLM_EFORMAT,
                                   "its .json has neither \"caption\" nor \"text\"");
    lvlm_json_free(json);
    return rc;
}

int lvlm_pairs_parse(cJSON **out, const lvlm_jsonl *pairs, size_t i, lvlm_error *err)
{
    assert(pairs->pairs != NULL && i < pairs->n);
    const lvlm_jsonl_pair *const pair = &pairs->pairs[i];
    const lvlm_jsonl_value *const value = &pairs->values[i];
    const char *const text = (const char *)pairs->file->bytes + value->offset;
    FAIL_IF(pair->n_images != 1, err, LVLM_EFORMAT,
            "%zu images, expected one .jpg, .jpeg, .png or .webp", pair->n_images);
    FAIL_IF(pair->caption == LVLM_CAPTION_NONE, err, LVLM_EFORMAT,
            "no caption beside the image: expected a .txt or .json");
    return pair->caption == LVLM_CAPTION_TEXT
               ? parse_text(out, pair->image, text, value->n_bytes, err)
               : parse_json(out, pair->image, text, value->n_bytes, err);
}
