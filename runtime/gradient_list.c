/* gradient_list.c - gradients as a list of tensors; see gradient_list.h. */
#include <string.h>

#include "runtime/gradient_list.h"

static void add(lvlm_gradient_list *list, const lvlm_tensor *t)
{
    list->tensors[list->n++] = *t;
}

static int list_native(lvlm_gradient_list *list, const lvlm_model *model)
{
    const lvlm_manifest *m = lvlm_model_manifest(model);
    for (size_t i = 0; i < m->n_targets; i++) {
        lvlm_tensor t;
        if (lvlm_model_gradient(model, &t, m->targets[i].name)) add(list, &t);
    }
    return 0;
}

/* What is listed of a native tensor; false: nothing. */
typedef bool fetch_fn(lvlm_model *model, lvlm_tensor *out, const char *name);

static bool fetch_gradient(lvlm_model *model, lvlm_tensor *out, const char *name)
{
    return lvlm_model_gradient(model, out, name);
}

static bool fetch_trained(lvlm_model *model, lvlm_tensor *out, const char *name)
{
    if (!lvlm_model_gradient(model, out, name)) return false;
    out->data = lvlm_model_weight(model, name);
    return out->data != NULL;
}

static bool fetch_stored(lvlm_model *model, lvlm_tensor *out, const char *name)
{
    const lvlm_target *const t = lvlm_manifest_find(lvlm_model_manifest(model), name);
    if (!fetch_trained(model, out, name)) return false;
    *out = *t->here.tensor;
    return true;
}

/* A source tensor out of its native parts. */
static int add_source(lvlm_gradient_list *list, lvlm_model *model,
                      const lvlm_ledger_entry *entry, fetch_fn *fetch, lvlm_error *err)
{
    lvlm_elements *parts =
        lvlm_arena_alloc(&list->arena, entry->n_targets, sizeof *parts);
    lvlm_tensor t = { .name = entry->source.name, .shape = entry->source.shape };
    if (parts == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < entry->n_targets; i++) {
        lvlm_tensor part;
        if (!fetch(model, &part, entry->targets[i])) return 0;
        parts[i] = lvlm_tensor_elements(&part);
        t.dtype = part.dtype;
        t.data = part.data;
    }
    FAIL_IF(!lvlm_shape_bytes(&t.n_bytes, &t.shape, t.dtype), err, LVLM_EFORMAT,
            "%s is too large", t.name);
    if (!lvlm_transform_is_keep(&entry->transform)) {
        const size_t element = lvlm_dtype_bytes(t.dtype);
        unsigned char *bytes = lvlm_arena_alloc(&list->arena, (size_t)t.n_bytes, 1);
        if (bytes == NULL) return lvlm_fail_memory(err);
        FAIL_IF(!lvlm_transform_scatter(bytes, 0, t.n_bytes / element,
                                        &entry->transform, parts, entry->n_targets),
                err, LVLM_EFORMAT, "'%s' is not made of its parts in the ledger",
                t.name);
        t.data = bytes;
    }
    add(list, &t);
    return 0;
}

const char *lvlm_gradient_source_name(const lvlm_manifest *m, const lvlm_target *t,
                                      lvlm_arena *arena)
{
    if (t->source_name != NULL) return t->source_name;
    const char *const canonical = lvlm_target_canonical(t, arena);
    return canonical != NULL
               ? lvlm_names_source(m->family, canonical, LVLM_LAYOUT_HUB, arena)
               : NULL;
}

/* The same for a tensor that was made, as the hub would store it. */
static int add_made(lvlm_gradient_list *list, lvlm_model *model, const char *native,
                    fetch_fn *fetch, lvlm_error *err)
{
    const lvlm_manifest *const m = lvlm_model_manifest(model);
    const lvlm_target *const t = lvlm_manifest_find(m, native);
    if (t == NULL || t->hf.transform.select > 0) return 0;
    const lvlm_ledger_entry entry = {
        .source = { .name = lvlm_gradient_source_name(m, t, &list->arena),
                    .shape = t->hf.shape },
        .targets = &native,
        .n_targets = 1,
        .transform = t->hf.transform,
    };
    return entry.source.name != NULL ? add_source(list, model, &entry, fetch, err)
                                     : lvlm_fail_memory(err);
}

static int list_sources(lvlm_gradient_list *list, lvlm_model *model, fetch_fn *fetch,
                        lvlm_error *err)
{
    const lvlm_ledger *ledger = &lvlm_model_manifest(model)->ledger;
    for (size_t i = 0; i < ledger->n_entries; i++)
        if (ledger->entries[i].use == LVLM_USE_USED)
            TRY(add_source(list, model, &ledger->entries[i], fetch, err));
    for (size_t i = 0; i < ledger->n_made; i++)
        TRY(add_made(list, model, ledger->made[i].target, fetch, err));
    return 0;
}

static int make(lvlm_gradient_list *out, const lvlm_model *model, lvlm_error *err)
{
    const lvlm_manifest *m = lvlm_model_manifest(model);
    *out = (lvlm_gradient_list){ .arena = LVLM_ARENA_INIT };
    out->tensors = lvlm_arena_alloc(&out->arena, m->n_targets + m->ledger.n_entries + 1,
                                    sizeof *out->tensors);
    return out->tensors != NULL ? 0 : lvlm_fail_memory(err);
}

int lvlm_gradient_list_make(lvlm_gradient_list *out, lvlm_model *model,
                            bool source_names, lvlm_error *err)
{
    TRY(make(out, model, err));
    return source_names ? list_sources(out, model, fetch_gradient, err)
                        : list_native(out, model);
}

int lvlm_weight_list_make(lvlm_gradient_list *out, lvlm_model *model,
                          lvlm_weight_values values, lvlm_error *err)
{
    TRY(make(out, model, err));
    return list_sources(
        out, model, values == LVLM_WEIGHTS_STORED ? fetch_stored : fetch_trained, err);
}

void lvlm_gradient_list_free(lvlm_gradient_list *list)
{
    lvlm_arena_free(&list->arena);
    *list = (lvlm_gradient_list){ 0 };
}
