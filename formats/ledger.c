/* ledger.c - the ledger between its struct and its JSON, checked on the way in. */
#include "formats/ledger.h"

#include <inttypes.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/size.h"

static const char *const use_names[] = { "used", "tied", "unused" };

const char *lvlm_use_name(lvlm_use use)
{
    return use_names[use];
}

/* ---- reading -------------------------------------------------------------------- */

static int copy_text(const char **out, const cJSON *item, const char *what,
                     lvlm_arena *arena, lvlm_error *err)
{
    const char *text = lvlm_json_string(item);
    FAIL_IF(text == NULL, err, LVLM_EFORMAT, "%s is missing or no text", what);
    *out = lvlm_arena_strndup(arena, text, strlen(text));
    return *out != NULL ? 0 : lvlm_fail_memory(err);
}

static size_t count(const cJSON *array)
{
    return lvlm_json_count(array);
}

/* Up to LVLM_MAX_DIMS whole numbers. */
static int read_numbers(uint64_t *out, size_t *n_out, const cJSON *array,
                        const char *what, lvlm_error *err)
{
    const cJSON *item;
    size_t n = 0;
    FAIL_IF(!cJSON_IsArray(array) || count(array) > LVLM_MAX_DIMS, err, LVLM_EFORMAT,
            "%s is no list of up to %d numbers", what, LVLM_MAX_DIMS);
    LVLM_JSON_ITEMS (item, array)
        FAIL_IF(!lvlm_json_u64(&out[n++], item), err, LVLM_EFORMAT,
                "%s: not a whole number", what);
    *n_out = n;
    return 0;
}

static int read_transform(lvlm_transform *out, const lvlm_tensor *source,
                          size_t n_targets, const cJSON *json, lvlm_error *err)
{
    uint64_t order[LVLM_MAX_DIMS], select, numel = 1;
    size_t n_order;
    unsigned seen = 0;
    TRY(read_numbers(out->axes, &out->n, lvlm_json_get(json, "axes"), "axes", err));
    TRY(read_numbers(order, &n_order, lvlm_json_get(json, "order"), "order", err));
    FAIL_IF(!lvlm_json_u64(&select, lvlm_json_get(json, "select")) || select > out->n,
            err, LVLM_EFORMAT, "select is no axis");
    out->select = (size_t)select;
    for (size_t i = 0; i < n_order; i++) {
        FAIL_IF(order[i] >= out->n || (seen >> order[i] & 1u) != 0 ||
                    order[i] + 1 == select,
                err, LVLM_EFORMAT, "order is no permutation of the axes");
        seen |= 1u << order[i];
        out->order[i] = (uint8_t)order[i];
    }
    FAIL_IF(out->n == 0 || n_order != out->n - (select > 0), err, LVLM_EFORMAT,
            "order does not name every axis");
    for (size_t i = 0; i < out->n; i++)
        FAIL_IF(!lvlm_mul_u64(&numel, numel, out->axes[i]), err, LVLM_EFORMAT,
                "axes overflow");
    FAIL_IF(numel != lvlm_tensor_numel(source), err, LVLM_EFORMAT,
            "axes make %" PRIu64 " elements, the tensor has %" PRIu64, numel,
            lvlm_tensor_numel(source));
    FAIL_IF(n_targets != (select > 0 ? out->axes[select - 1] : 1), err, LVLM_EFORMAT,
            "has %zu targets, not one for each index of the selected axis", n_targets);
    return 0;
}

static int read_source(lvlm_tensor *source, const lvlm_ledger *ledger,
                       const cJSON *json, lvlm_error *err)
{
    const char *dtype = lvlm_json_string(lvlm_json_get(json, "dtype"));
    uint64_t file, end;
    FAIL_IF(dtype == NULL || !lvlm_dtype_from_name(&source->dtype, dtype), err,
            LVLM_EFORMAT, "unknown dtype");
    TRY(read_numbers(source->shape.dims, &source->shape.n, lvlm_json_get(json, "shape"),
                     "shape", err));
    FAIL_IF(!lvlm_shape_bytes(&source->n_bytes, &source->shape, source->dtype), err,
            LVLM_EFORMAT, "size overflows");
    FAIL_IF(
        !lvlm_json_u64(&file, lvlm_json_get(json, "file")) || file >= ledger->n_files,
        err, LVLM_EFORMAT, "file is no index into files");
    source->file = (size_t)file;
    source->detached = lvlm_json_get(json, "detached") != NULL;
    FAIL_IF(source->detached && !cJSON_IsTrue(lvlm_json_get(json, "detached")), err,
            LVLM_EFORMAT, "detached is not true");
    FAIL_IF(!lvlm_json_u64(&source->offset, lvlm_json_get(json, "offset")) ||
                !lvlm_add_u64(&end, source->offset,
                              source->detached ? 0 : source->n_bytes) ||
                end > ledger->files[file].n_bytes,
            err, LVLM_EFORMAT, "lies outside its file");
    return 0;
}

static int read_entry(lvlm_ledger_entry *entry, const lvlm_ledger *ledger,
                      const cJSON *json, lvlm_arena *arena, lvlm_error *err)
{
    const char *use = lvlm_json_string(lvlm_json_get(json, "use"));
    const cJSON *targets = lvlm_json_get(json, "targets");
    const cJSON *transform = lvlm_json_get(json, "transform");
    const cJSON *item;
    TRY(read_source(&entry->source, ledger, json, err));
    FAIL_IF(use == NULL, err, LVLM_EFORMAT, "has no use");
    for (entry->use = LVLM_USE_USED; strcmp(use, use_names[entry->use]) != 0;
         entry->use++)
        FAIL_IF(entry->use == LVLM_USE_UNUSED, err, LVLM_EFORMAT, "unknown use '%s'",
                use);
    if (entry->use == LVLM_USE_UNUSED)
        TRY(copy_text(&entry->rule, lvlm_json_get(json, "rule"), "rule", arena, err));
    entry->targets =
        lvlm_arena_alloc(arena, count(targets) + 1, sizeof *entry->targets);
    if (entry->targets == NULL) return lvlm_fail_memory(err);
    LVLM_JSON_ITEMS (item, targets)
        TRY(copy_text(&entry->targets[entry->n_targets++], item, "target", arena, err));
    if (transform != NULL)
        return read_transform(&entry->transform, &entry->source, entry->n_targets,
                              transform, err);
    FAIL_IF(entry->n_targets != 1, err, LVLM_EFORMAT, "has %zu targets, expected 1",
            entry->n_targets);
    return 0;
}

static int read_files(lvlm_ledger *out, const cJSON *json, lvlm_arena *arena,
                      lvlm_error *err)
{
    const cJSON *files = lvlm_json_get(json, "files"), *item;
    out->files = lvlm_arena_alloc(arena, count(files) + 1, sizeof *out->files);
    if (out->files == NULL) return lvlm_fail_memory(err);
    LVLM_JSON_ITEMS (item, files) {
        lvlm_ledger_file *file = &out->files[out->n_files++];
        TRY(copy_text(&file->name, lvlm_json_get(item, "name"), "file name", arena,
                      err));
        FAIL_IF(file->name[0] == '\0' || file->name[0] == '.' ||
                    strchr(file->name, '/') != NULL,
                err, LVLM_EFORMAT, "'%s' is no plain file name", file->name);
        FAIL_IF(!lvlm_json_u64(&file->n_bytes, lvlm_json_get(item, "bytes")), err,
                LVLM_EFORMAT, "file '%s' has no size", file->name);
        file->compressed = cJSON_IsTrue(lvlm_json_get(item, "compressed"));
    }
    return 0;
}

/* Does `t` stand behind `before` in the ledger where it should stand in front? */
static bool precedes(const lvlm_tensor *t, const lvlm_tensor *before)
{
    if (t->file != before->file) return t->file < before->file;
    if (before->detached) return !t->detached;
    return !t->detached && t->offset < before->offset + before->n_bytes;
}

static int read_entries(lvlm_ledger *out, const cJSON *json, lvlm_arena *arena,
                        lvlm_error *err)
{
    const cJSON *tensors = lvlm_json_get(json, "tensors"), *item;
    const lvlm_tensor *before = NULL;
    out->entries = lvlm_arena_alloc(arena, count(tensors) + 1, sizeof *out->entries);
    if (out->entries == NULL) return lvlm_fail_memory(err);
    LVLM_JSON_ITEMS (item, tensors) {
        lvlm_ledger_entry *entry = &out->entries[out->n_entries++];
        TRY(copy_text(&entry->source.name, lvlm_json_get(item, "name"), "tensor name",
                      arena, err));
        const int rc = read_entry(entry, out, item, arena, err);
        if (rc < 0) {
            lvlm_prefix(err, "tensor '%s': ", entry->source.name);
            return rc;
        }
        FAIL_IF(before != NULL && precedes(&entry->source, before), err, LVLM_EFORMAT,
                "tensor '%s': overlaps or precedes '%s'", entry->source.name,
                before->name);
        before = &entry->source;
    }
    return 0;
}

int lvlm_ledger_read(lvlm_ledger *out, const cJSON *json, lvlm_arena *arena,
                     lvlm_error *err)
{
    const cJSON *made = lvlm_json_get(json, "made"), *item;
    *out = (lvlm_ledger){ 0 };
    TRY(read_files(out, json, arena, err));
    TRY(read_entries(out, json, arena, err));
    out->made = lvlm_arena_alloc(arena, count(made) + 1, sizeof *out->made);
    if (out->made == NULL) return lvlm_fail_memory(err);
    LVLM_JSON_ITEMS (item, made) {
        lvlm_ledger_made *m = &out->made[out->n_made++];
        TRY(copy_text(&m->target, lvlm_json_get(item, "target"), "made: target", arena,
                      err));
        TRY(copy_text(&m->how, lvlm_json_get(item, "how"), "made: how", arena, err));
    }
    return 0;
}

/* ---- writing -------------------------------------------------------------------- */

/* Appends come with one check at the end: cJSON's adders tolerate NULL and say no. */
static bool add_numbers(cJSON *to, const char *key, const uint64_t *numbers, size_t n)
{
    cJSON *array = cJSON_AddArrayToObject(to, key);
    bool ok = array != NULL;
    for (size_t i = 0; i < n && ok; i++)
        ok = cJSON_AddItemToArray(array, cJSON_CreateNumber((double)numbers[i]));
    return ok;
}

static bool add_transform(cJSON *to, const lvlm_transform *transform)
{
    cJSON *json = cJSON_AddObjectToObject(to, "transform");
    uint64_t order[LVLM_MAX_DIMS] = { 0 };
    const size_t n_order = transform->n - (transform->select > 0);
    for (size_t i = 0; i < n_order; i++) order[i] = transform->order[i];
    return json != NULL && add_numbers(json, "axes", transform->axes, transform->n) &&
           cJSON_AddNumberToObject(json, "select", (double)transform->select) != NULL &&
           add_numbers(json, "order", order, n_order);
}

static bool add_entry(cJSON *array, const lvlm_ledger_entry *entry)
{
    const lvlm_tensor *t = &entry->source;
    cJSON *json = cJSON_CreateObject();
    if (!cJSON_AddItemToArray(array, json)) return false;
    bool ok =
        cJSON_AddStringToObject(json, "name", t->name) != NULL &&
        cJSON_AddNumberToObject(json, "file", (double)t->file) != NULL &&
        cJSON_AddNumberToObject(json, "offset", (double)t->offset) != NULL &&
        cJSON_AddStringToObject(json, "dtype", lvlm_dtype_name(t->dtype)) != NULL &&
        add_numbers(json, "shape", t->shape.dims, t->shape.n) &&
        cJSON_AddStringToObject(json, "use", use_names[entry->use]) != NULL;
    if (ok && t->detached) ok = cJSON_AddTrueToObject(json, "detached") != NULL;
    if (ok && entry->rule != NULL)
        ok = cJSON_AddStringToObject(json, "rule", entry->rule) != NULL;
    cJSON *targets = cJSON_AddArrayToObject(json, "targets");
    ok = ok && targets != NULL;
    for (size_t i = 0; i < entry->n_targets && ok; i++)
        ok = cJSON_AddItemToArray(targets, cJSON_CreateString(entry->targets[i]));
    if (ok && !lvlm_transform_is_keep(&entry->transform))
        ok = add_transform(json, &entry->transform);
    return ok;
}

static bool add_file(cJSON *array, const lvlm_ledger_file *file)
{
    cJSON *json = cJSON_CreateObject();
    return cJSON_AddItemToArray(array, json) &&
           cJSON_AddStringToObject(json, "name", file->name) != NULL &&
           cJSON_AddNumberToObject(json, "bytes", (double)file->n_bytes) != NULL &&
           (!file->compressed || cJSON_AddTrueToObject(json, "compressed") != NULL);
}

static bool add_made(cJSON *array, const lvlm_ledger_made *made)
{
    cJSON *json = cJSON_CreateObject();
    return cJSON_AddItemToArray(array, json) &&
           cJSON_AddStringToObject(json, "target", made->target) != NULL &&
           cJSON_AddStringToObject(json, "how", made->how) != NULL;
}

int lvlm_ledger_write(cJSON **out, const lvlm_ledger *ledger, lvlm_error *err)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *files = cJSON_AddArrayToObject(json, "files");
    cJSON *tensors = cJSON_AddArrayToObject(json, "tensors");
    cJSON *made = cJSON_AddArrayToObject(json, "made");
    bool ok = files != NULL && tensors != NULL && made != NULL;
    for (size_t i = 0; i < ledger->n_files && ok; i++)
        ok = add_file(files, &ledger->files[i]);
    for (size_t i = 0; i < ledger->n_entries && ok; i++)
        ok = add_entry(tensors, &ledger->entries[i]);
    for (size_t i = 0; i < ledger->n_made && ok; i++)
        ok = add_made(made, &ledger->made[i]);
    if (!ok) {
        lvlm_json_free(json);
        return lvlm_fail_memory(err);
    }
    *out = json;
    return 0;
}
