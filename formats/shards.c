/* shards.c - the index of a model in several files, parsed and held against them. */
#include "formats/shards.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_tensor(const void *a, const void *b)
{
    return strcmp(((const lvlm_shard_entry *)a)->tensor,
                  ((const lvlm_shard_entry *)b)->tensor);
}

static bool has_suffix(const char *text, const char *suffix)
{
    const size_t n = strlen(text), m = strlen(suffix);
    return n > m && strcmp(text + n - m, suffix) == 0;
}

/* An index must not reach outside its directory, nor name anything but tensor files. */
static bool is_plain_name(const char *name, const char *suffix)
{
    return name[0] != '.' && strchr(name, '/') == NULL && has_suffix(name, suffix);
}

/* The distinct file names of weight_map, sorted. */
static int collect_files(lvlm_shards *out, const cJSON *map, const char *suffix,
                         lvlm_arena *arena, lvlm_error *err)
{
    const cJSON *item;
    size_t n = 0;
    LVLM_JSON_MEMBERS (item, map) {
        const char *file = lvlm_json_string(item);
        FAIL_IF(
            file == NULL || !is_plain_name(file, suffix), err, LVLM_EFORMAT,
            "weight_map: '%s' is not in a plain %s file of this directory but in '%s'",
            item->string, suffix, file != NULL ? file : "(no string)");
        out->files[n] = lvlm_arena_strndup(arena, file, strlen(file));
        if (out->files[n] == NULL) return lvlm_fail_memory(err);
        n++;
    }
    qsort(out->files, n, sizeof *out->files, by_text);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(out->files[i], out->files[out->n_files - 1]) != 0)
            out->files[out->n_files++] = out->files[i];
    FAIL_IF(out->n_files > LVLM_MAX_SHARDS, err, LVLM_EFORMAT,
            "weight_map names %zu files, the limit is %d", out->n_files,
            LVLM_MAX_SHARDS);
    return 0;
}

static int collect_entries(lvlm_shards *out, const cJSON *map, lvlm_arena *arena,
                           lvlm_error *err)
{
    const cJSON *item;
    LVLM_JSON_MEMBERS (item, map) {
        const char *file = item->valuestring;
        const char *const *found =
            bsearch(&file, out->files, out->n_files, sizeof *out->files, by_text);
        lvlm_shard_entry *entry = &out->entries[out->n_entries++];
        entry->tensor = lvlm_arena_strndup(arena, item->string, strlen(item->string));
        if (entry->tensor == NULL) return lvlm_fail_memory(err);
        entry->file = (size_t)(found - out->files);
    }
    qsort(out->entries, out->n_entries, sizeof *out->entries, by_tensor);
    return 0;
}

int lvlm_shards_parse(lvlm_shards *out, const char *text, size_t n_bytes,
                      const char *suffix, lvlm_arena *arena, lvlm_error *err)
{
    cJSON *json = NULL;
    int rc;

    *out = (lvlm_shards){ 0 };
    TRY(lvlm_json_parse(&json, text, n_bytes, err));
    const cJSON *map = lvlm_json_get(json, "weight_map");
    const size_t n = lvlm_json_count_members(map);
    if (n == 0) {
        rc = lvlm_fail(err, LVLM_EFORMAT, "weight_map is missing or empty");
        goto done;
    }
    out->files = lvlm_arena_alloc(arena, n, sizeof *out->files);
    out->entries = lvlm_arena_alloc(arena, n, sizeof *out->entries);
    if (out->files == NULL || out->entries == NULL) {
        rc = lvlm_fail_memory(err);
        goto done;
    }
    if ((rc = collect_files(out, map, suffix, arena, err)) == 0)
        rc = collect_entries(out, map, arena, err);
done:
    lvlm_json_free(json);
    return rc;
}

int lvlm_shards_agree(const lvlm_shards *shards, const lvlm_tensor *const *by_name,
                      size_t n_tensors, lvlm_error *err)
{
    size_t i = 0, j = 0; /* both lists are sorted: one merge */
    while (i < shards->n_entries || j < n_tensors) {
        const lvlm_shard_entry *entry =
            i < shards->n_entries ? &shards->entries[i] : NULL;
        const lvlm_tensor *tensor = j < n_tensors ? by_name[j] : NULL;
        const int order = entry == NULL    ? 1
                          : tensor == NULL ? -1
                                           : strcmp(entry->tensor, tensor->name);
        FAIL_IF(order < 0, err, LVLM_EFORMAT,
                "tensor '%s' should be in %s and is in no file", entry->tensor,
                shards->files[entry->file]);
        FAIL_IF(order > 0, err, LVLM_EFORMAT, "tensor '%s' of %s is not in the index",
                tensor->name, shards->files[tensor->file]);
        FAIL_IF(entry->file != tensor->file, err, LVLM_EFORMAT,
                "tensor '%s' should be in %s and is in %s", entry->tensor,
                shards->files[entry->file], shards->files[tensor->file]);
        i++, j++;
    }
    return 0;
}
