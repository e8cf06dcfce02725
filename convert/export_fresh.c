/* export_fresh.c - writes new safetensors files with the names of a layout.
 *
 *   targets in order of use -> source tensors -> shards by size -> sorted in each shard
 *
 * Order, padding and metadata are those of the reference's writer, so the bytes are the
 * same as if it had written the file. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "convert/export_parts.h"
#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/container/safetensors.h"
#include "formats/container/shards.h"
#include "formats/native/native.h"

/* A tensor to be written, and its shard. */
typedef struct fresh {
    lvlm_ledger_entry entry; /* first, as in it the tensor and its name: for sorting */
    size_t shard;
} fresh;

typedef struct list {
    fresh *at;
    size_t n, capacity;
    size_t n_shards;
} list;

/* ---- which tensors -------------------------------------------------------------- */

/* Append an entry with room for targets; valid until the next call. */
static int push(lvlm_ledger_entry **entry, list *l, lvlm_export *ex, size_t n_targets,
                lvlm_error *err)
{
    const char **targets = lvlm_arena_alloc(&ex->arena, n_targets, sizeof *targets);
    fresh *at = lvlm_arena_room(&ex->arena, l->at, l->n, &l->capacity, sizeof *at);
    if (targets == NULL || at == NULL) return lvlm_fail_memory(err);
    l->at = at;
    at[l->n] = (fresh){ .entry = { .targets = targets, .n_targets = n_targets } };
    *entry = &at[l->n++].entry;
    return 0;
}

/* The entry whose source a target is part of, created if it is new. */
static int find_or_add(lvlm_ledger_entry **entry, list *l, lvlm_export *ex,
                       const char *name, const lvlm_target *t, lvlm_error *err)
{
    const size_t select = t->hf.transform.select;
    assert(t->here.tensor != NULL);
    for (size_t i = l->n; select > 0 && i-- > 0;) { /* parts are close together */
        *entry = &l->at[i].entry;
        if (strcmp((*entry)->source.name, name) == 0) return 0;
    }
    TRY(push(entry, l, ex, select > 0 ? (size_t)t->hf.transform.axes[select - 1] : 1,
             err));
    (*entry)->source = (lvlm_tensor){ .name = name,
                                      .dtype = t->here.tensor->dtype,
                                      .shape = t->hf.shape };
    (*entry)->transform = t->hf.transform;
    return 0;
}

static int list_target(list *l, lvlm_export *ex, const lvlm_target *t, lvlm_error *err)
{
    const lvlm_family *const family = ex->manifest.family;
    lvlm_ledger_entry *entry = NULL;
    if (!lvlm_target_is_stored(t) || !export_part_has(ex, t->name)) return 0;
    FAIL_IF(t->state == LVLM_TARGET_MISSING, err, LVLM_EFORMAT,
            "tensor '%s' is missing", t->name);
    const char *const canonical = lvlm_target_canonical(t, &ex->arena);
    const char *const name =
        canonical != NULL
            ? export_part_name(ex, lvlm_names_source(family, canonical,
                                                     ex->options.layout, &ex->arena))
            : NULL;
    if (name == NULL) return lvlm_fail_memory(err);
    TRY(find_or_add(&entry, l, ex, name, t, err));
    assert(t->hf.transform.select == 0 || t->hf.transform.index < entry->n_targets);
    entry->targets[t->hf.transform.select > 0 ? t->hf.transform.index : 0] = t->name;
    return 0;
}

static int list_unused(list *l, lvlm_export *ex, const lvlm_extra *extra,
                       lvlm_error *err)
{
    lvlm_ledger_entry *entry = NULL;
    if (extra->kind != LVLM_EXTRA_UNUSED || !export_part_has(ex, extra->canonical))
        return 0;
    if (strchr(extra->canonical, '/') != NULL) return 0; /* has no name on the hub */
    TRY(push(&entry, l, ex, 1, err));
    entry->source = *extra->tensor;
    entry->source.name =
        export_part_name(ex, lvlm_names_source(ex->manifest.family, extra->canonical,
                                               ex->options.layout, &ex->arena));
    entry->targets[0] = extra->tensor->name;
    return entry->source.name != NULL ? 0 : lvlm_fail_memory(err);
}

/* A source tensor, under its own name. */
static int list_source(list *l, lvlm_export *ex, const lvlm_ledger_entry *source,
                       lvlm_error *err)
{
    const lvlm_tensor *native = lvlm_checkpoint_find(ex->model, source->targets[0]);
    lvlm_ledger_entry *entry = NULL;
    assert(native != NULL); /* native_rules.c */
    TRY(push(&entry, l, ex, 0, err));
    *entry = *source;
    entry->source.dtype = native->dtype;
    return 0;
}

static int list_all(list *l, lvlm_export *ex, lvlm_error *err)
{
    const lvlm_manifest *const m = &ex->manifest;
    for (size_t i = 0; ex->rewritten_as_safetensors && i < m->ledger.n_entries; i++)
        if (!export_is_elsewhere(ex, m->ledger.entries[i].source.file))
            TRY(list_source(l, ex, &m->ledger.entries[i], err));
    if (ex->rewritten_as_safetensors) return 0;
    for (size_t i = 0; i < m->n_targets; i++)
        TRY(list_target(l, ex, &m->targets[i], err));
    for (size_t i = 0; i < m->n_extras; i++)
        TRY(list_unused(l, ex, &m->extras[i], err));
    return 0;
}

/* ---- shards --------------------------------------------------------------------- */

/* Fill one shard after another in order of use, as the reference's writer does. */
static void split(list *l, uint64_t max_shard)
{
    assert(l->n_shards == 0);
    uint64_t used = 0;
    l->n_shards = 1;
    for (size_t i = 0; i < l->n; i++) {
        uint64_t n_bytes = 0;
        (void)lvlm_shape_bytes(&n_bytes, &l->at[i].entry.source.shape,
                               l->at[i].entry.source.dtype);
        if (used > 0 && used + n_bytes > max_shard) {
            l->n_shards++;
            used = 0;
        }
        used += n_bytes;
        l->at[i].shard = l->n_shards - 1;
    }
}

static const char *shard_name(lvlm_export *ex, const list *l, size_t shard)
{
    assert(shard < l->n_shards);
    if (l->n_shards == 1) return LVLM_MODEL_FILE;
    return lvlm_arena_printf(&ex->arena, "model-%05zu-of-%05zu.safetensors", shard + 1,
                             l->n_shards);
}

static int by_shard(const void *a, const void *b)
{
    const fresh *x = a, *y = b;
    if (x->shard != y->shard) return x->shard < y->shard ? -1 : 1;
    return lvlm_safetensors_order(&x->entry.source, &y->entry.source);
}

static int compose_header(const char **text, size_t *n_bytes, lvlm_export *ex,
                          const fresh *first, size_t n, lvlm_error *err)
{
    lvlm_strbuf header = LVLM_STRBUF_INIT(LVLM_SAFETENSORS_MAX_HEADER + 16);
    cJSON *metadata = cJSON_CreateObject();
    lvlm_tensor *tensors = lvlm_arena_alloc(&ex->arena, n, sizeof *tensors);
    int rc = lvlm_fail_memory(err);
    if (tensors != NULL && cJSON_AddStringToObject(metadata, "format", "pt") != NULL) {
        for (size_t i = 0; i < n; i++) tensors[i] = first[i].entry.source;
        rc = lvlm_safetensors_header(&header, tensors, n, metadata, 8, err);
    }
    if (rc == 0) {
        *text = lvlm_arena_strndup(&ex->arena, header.text, header.length);
        *n_bytes = header.length;
        if (*text == NULL) rc = lvlm_fail_memory(err);
    }
    lvlm_json_free(metadata);
    lvlm_strbuf_free(&header);
    return rc;
}

static int add_shard(lvlm_export *ex, const char *name, const fresh *first, size_t n,
                     lvlm_error *err)
{
    assert(n > 0);
    lvlm_export_file *file;
    const char *header = NULL;
    size_t header_bytes = 0;
    TRY(export_add_file(&file, ex, name, err));
    TRY(compose_header(&header, &header_bytes, ex, first, n, err));
    TRY(lvlm_plan_bytes(&file->plan, "header", (const unsigned char *)header,
                        header_bytes, err));
    for (size_t i = 0; i < n; i++)
        TRY(export_step(ex, &file->plan, &first[i].entry, err));
    return 0;
}

/* ---- index ---------------------------------------------------------------------- */

static int add_index(lvlm_export *ex, list *l, lvlm_error *err)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *metadata = cJSON_AddObjectToObject(json, "metadata");
    cJSON *map = cJSON_AddObjectToObject(json, "weight_map");
    double numel = 0, total = 0;
    bool ok = map != NULL;
    qsort(l->at, l->n, sizeof *l->at, lvlm_by_text);
    for (size_t i = 0; i < l->n && ok; i++) {
        const lvlm_tensor *const t = &l->at[i].entry.source;
        uint64_t n = 0;
        (void)lvlm_shape_numel(&n, &t->shape);
        numel += (double)n;
        total += (double)n * (double)lvlm_dtype_bytes(t->dtype);
        ok = cJSON_AddStringToObject(map, t->name, shard_name(ex, l, l->at[i].shard)) !=
             NULL;
    }
    ok = ok && cJSON_AddNumberToObject(metadata, "total_parameters", numel) != NULL &&
         cJSON_AddNumberToObject(metadata, "total_size", total) != NULL;
    char *text = NULL;
    int rc = ok ? lvlm_json_print_pretty(&text, json, err) : lvlm_fail_memory(err);
    if (rc == 0) rc = export_add_text(ex, LVLM_INDEX_FILE, text, err);
    lvlm_free(text);
    lvlm_json_free(json);
    return rc;
}

/* ---- the layout ----------------------------------------------------------------- */

/* What only composed models have is not written for transformers. */
static int check_form(const lvlm_export *ex, lvlm_error *err)
{
    const lvlm_manifest *const m = &ex->manifest;
    const char *const *says = m->family->only_here;
    if (ex->options.part != NULL) return 0;
    for (; says != NULL && *says != NULL; says++)
        FAIL_IF(
            lvlm_config_says(m->config, *says), err, LVLM_EFORMAT,
            "%s has no form in transformers' %s; its tower and language model have: "
            "--part vision, --part text",
            *says, m->family->title);
    return 0;
}

int export_fresh(lvlm_export *ex, lvlm_error *err)
{
    list l = { 0 };
    TRY(check_form(ex, err));
    TRY(list_all(&l, ex, err));
    split(&l, ex->options.max_shard);
    qsort(l.at, l.n, sizeof *l.at, by_shard);
    for (size_t i = 0, n; i < l.n; i += n) {
        for (n = 1; i + n < l.n && l.at[i + n].shard == l.at[i].shard;) n++;
        TRY(add_shard(ex, shard_name(ex, &l, l.at[i].shard), &l.at[i], n, err));
    }
    return l.n_shards > 1 ? add_index(ex, &l, err) : 0;
}
