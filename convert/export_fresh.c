/* export_fresh.c - writes new safetensors files with the names of a layout.
 *
 *   targets in order of use -> source tensors -> shards by size -> sorted in each shard
 *
 * Order, padding and metadata are those of the reference's writer, so the bytes are the
 * same as if it had written the file. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "convert/export_parts.h"
#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/container/safetensors.h"
#include "formats/container/shards.h"
#include "formats/native/native.h"

/* A tensor to be written, and its parts. */
typedef struct fresh {
    lvlm_tensor out; /* first: sorted by lvlm_safetensors_order */
    lvlm_transform transform;
    const char **parts;
    size_t n_parts;
    size_t shard;
} fresh;

typedef struct list {
    fresh *at;
    size_t n, capacity;
    size_t n_shards;
} list;

/* ---- which tensors -------------------------------------------------------------- */

/* Append an entry; valid until the next call. NULL: out of memory. */
static fresh *push(list *l, lvlm_export *ex, size_t n_parts)
{
    const char **parts = lvlm_arena_alloc(&ex->arena, n_parts, sizeof *parts);
    fresh *at = lvlm_arena_room(&ex->arena, l->at, l->n, &l->capacity, sizeof *at);
    if (parts == NULL || at == NULL) return NULL;
    l->at = at;
    at[l->n] = (fresh){ .parts = parts, .n_parts = n_parts };
    return &at[l->n++];
}

/* The entry whose source a target is part of, created if it is new. NULL: out of
 * memory. */
static fresh *find_or_add(list *l, lvlm_export *ex, const char *name,
                          const lvlm_target *t)
{
    const size_t select = t->transform.select;
    for (size_t i = l->n; select > 0 && i-- > 0;) /* parts are close together */
        if (strcmp(l->at[i].out.name, name) == 0) return &l->at[i];
    fresh *f = push(l, ex, select > 0 ? (size_t)t->transform.axes[select - 1] : 1);
    if (f == NULL) return NULL;
    f->out.name = name;
    f->out.dtype = lvlm_checkpoint_find(ex->model, t->name)->dtype;
    f->out.shape = t->source_shape;
    f->transform = t->transform;
    return f;
}

static int list_targets(list *l, lvlm_export *ex, lvlm_error *err)
{
    lvlm_manifest *m = &ex->manifest;
    for (size_t i = 0; i < m->n_targets; i++) {
        const lvlm_target *t = &m->targets[i];
        if (!lvlm_target_is_stored(t)) continue;
        FAIL_IF(t->state == LVLM_TARGET_MISSING, err, LVLM_EFORMAT,
                "tensor '%s' is missing", t->name);
        const char *rest =
            lvlm_names_join(t->section->source, t->block, t->row->source, &ex->arena);
        const char *canonical =
            rest == NULL ? NULL : lvlm_names_join(t->root->native, 0, rest, &ex->arena);
        const char *name = canonical == NULL
                               ? NULL
                               : lvlm_names_source(m->family, canonical,
                                                   ex->options.layout, &ex->arena);
        if (name == NULL) return lvlm_fail_memory(err);
        fresh *f = find_or_add(l, ex, name, t);
        if (f == NULL) return lvlm_fail_memory(err);
        f->parts[t->transform.select > 0 ? t->transform.index : 0] = t->name;
    }
    return 0;
}

static int list_unused(list *l, lvlm_export *ex, lvlm_error *err)
{
    for (size_t i = 0; i < ex->manifest.n_extras; i++) {
        const lvlm_extra *extra = &ex->manifest.extras[i];
        if (extra->kind != LVLM_EXTRA_UNUSED) continue;
        if (strchr(extra->canonical, '/') != NULL)
            continue; /* has no name on the hub */
        fresh *f = push(l, ex, 1);
        if (f == NULL) return lvlm_fail_memory(err);
        f->out = *extra->tensor;
        f->out.name = lvlm_names_source(ex->manifest.family, extra->canonical,
                                        ex->options.layout, &ex->arena);
        if (f->out.name == NULL) return lvlm_fail_memory(err);
        f->parts[0] = extra->tensor->name;
    }
    return 0;
}

/* The source's tensors, under their own names. */
static int list_source(list *l, lvlm_export *ex, lvlm_error *err)
{
    const lvlm_ledger *ledger = &ex->manifest.ledger;
    for (size_t i = 0; i < ledger->n_entries; i++) {
        const lvlm_ledger_entry *entry = &ledger->entries[i];
        const lvlm_tensor *native = lvlm_checkpoint_find(ex->model, entry->targets[0]);
        FAIL_IF(native == NULL, err, LVLM_EFORMAT, "tensor '%s' is missing",
                entry->targets[0]);
        fresh *f = push(l, ex, entry->n_targets);
        if (f == NULL) return lvlm_fail_memory(err);
        f->out = entry->source;
        f->out.dtype = native->dtype;
        f->transform = entry->transform;
        for (size_t k = 0; k < entry->n_targets; k++) f->parts[k] = entry->targets[k];
    }
    return 0;
}

/* ---- shards --------------------------------------------------------------------- */

/* Fill one shard after another in order of use, as the reference's writer does. */
static void split(list *l, uint64_t max_shard)
{
    uint64_t used = 0;
    l->n_shards = 1;
    for (size_t i = 0; i < l->n; i++) {
        uint64_t n_bytes = 0;
        (void)lvlm_shape_bytes(&n_bytes, &l->at[i].out.shape, l->at[i].out.dtype);
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
    if (l->n_shards == 1) return LVLM_MODEL_FILE;
    return lvlm_arena_printf(&ex->arena, "model-%05zu-of-%05zu.safetensors", shard + 1,
                             l->n_shards);
}

static int by_shard(const void *a, const void *b)
{
    const fresh *x = a, *y = b;
    if (x->shard != y->shard) return x->shard < y->shard ? -1 : 1;
    return lvlm_safetensors_order(&x->out, &y->out);
}

static int compose_header(const char **text, size_t *n_bytes, lvlm_export *ex,
                          const fresh *first, size_t n, lvlm_error *err)
{
    lvlm_strbuf header = LVLM_STRBUF_INIT(LVLM_SAFETENSORS_MAX_HEADER + 16);
    cJSON *metadata = cJSON_CreateObject();
    lvlm_tensor *tensors = lvlm_arena_alloc(&ex->arena, n, sizeof *tensors);
    int rc = lvlm_fail_memory(err);
    if (tensors != NULL && cJSON_AddStringToObject(metadata, "format", "pt") != NULL) {
        for (size_t i = 0; i < n; i++) tensors[i] = first[i].out;
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
    lvlm_export_file *file;
    const char *header = NULL;
    size_t header_bytes = 0;
    TRY(lvlm_export_add_file(&file, ex, name, err));
    TRY(compose_header(&header, &header_bytes, ex, first, n, err));
    TRY(lvlm_plan_bytes(&file->plan, "header", (const unsigned char *)header,
                        header_bytes, err));
    for (size_t i = 0; i < n; i++)
        TRY(lvlm_export_step(ex, &file->plan, &first[i].out, &first[i].transform,
                             first[i].parts, first[i].n_parts, err));
    return 0;
}

/* ---- index ---------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const fresh *)a)->out.name, ((const fresh *)b)->out.name);
}

static int add_index(lvlm_export *ex, list *l, lvlm_error *err)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *metadata = cJSON_AddObjectToObject(json, "metadata");
    cJSON *map = cJSON_AddObjectToObject(json, "weight_map");
    double numel = 0, total = 0;
    bool ok = map != NULL;
    qsort(l->at, l->n, sizeof *l->at, by_name);
    for (size_t i = 0; i < l->n && ok; i++) {
        uint64_t n = 0;
        (void)lvlm_shape_numel(&n, &l->at[i].out.shape);
        numel += (double)n;
        total += (double)n * (double)lvlm_dtype_bytes(l->at[i].out.dtype);
        ok = cJSON_AddStringToObject(map, l->at[i].out.name,
                                     shard_name(ex, l, l->at[i].shard)) != NULL;
    }
    ok = ok && cJSON_AddNumberToObject(metadata, "total_parameters", numel) != NULL &&
         cJSON_AddNumberToObject(metadata, "total_size", total) != NULL;
    char *text = NULL;
    int rc = ok ? lvlm_json_print_pretty(&text, json, err) : lvlm_fail_memory(err);
    if (rc == 0)
        rc = lvlm_export_add_text(ex, LVLM_INDEX_FILE, text, strlen(text), err);
    lvlm_free(text);
    lvlm_json_free(json);
    return rc;
}

/* ---- the layout ----------------------------------------------------------------- */

int lvlm_export_fresh(lvlm_export *ex, lvlm_error *err)
{
    list l = { 0 };
    if (ex->rewritten_as_safetensors) TRY(list_source(&l, ex, err));
    if (!ex->rewritten_as_safetensors) TRY(list_targets(&l, ex, err));
    if (!ex->rewritten_as_safetensors) TRY(list_unused(&l, ex, err));
    split(&l, ex->options.max_shard);
    qsort(l.at, l.n, sizeof *l.at, by_shard);
    for (size_t i = 0, n; i < l.n; i += n) {
        for (n = 1; i + n < l.n && l.at[i + n].shard == l.at[i].shard;) n++;
        TRY(add_shard(ex, shard_name(ex, &l, l.at[i].shard), &l.at[i], n, err));
    }
    return l.n_shards > 1 ? add_index(ex, &l, err) : 0;
}
