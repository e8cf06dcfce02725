/* npz_names.c - finds places by a family's table for .npz; see npz_names.h. */
#include "formats/family/npz_names.h"

#include <assert.h>
#include <string.h>

#include "formats/base/text.h"
#include "formats/family/names.h"

const char *lvlm_npz_canonical(const char *key)
{
    return lvlm_starts_with(key, "params/") ? key + strlen("params/") : key;
}

/* Resolve the shape, for one block or all of them. */
static int resolve_shape(lvlm_storage *out, const char *text, const cJSON *config,
                         const char *key, lvlm_error *err)
{
    out->shape_text = text;
    FAIL_IF(!lvlm_shape_resolve(&out->shape, text, config), err, LVLM_EFORMAT,
            "configuration: the shape of %s cannot be computed", key);
    return 0;
}

/* The array of one block. */
static void use_order(lvlm_storage *out, const lvlm_npz_row *row)
{
    const size_t n_order = out->shape.n - (row->select > 0);
    bool reorders = row->select > 0;
    for (size_t i = 0; i < n_order; i++) reorders |= row->order[i] != 0;
    if (!reorders) return;
    out->transform = (lvlm_transform){ .n = out->shape.n,
                                       .select = row->select,
                                       .index = row->index };
    memcpy(out->transform.axes, out->shape.dims, sizeof out->shape.dims);
    memcpy(out->transform.order, row->order, n_order);
}

/* The same array with blocks as the leading axis. */
static int stack(lvlm_storage *out, const lvlm_npz_section *section, uint64_t block,
                 const cJSON *config, const char *key, lvlm_arena *arena,
                 lvlm_error *err)
{
    const lvlm_shape one = out->shape;
    char *const text =
        lvlm_arena_printf(arena, "%s, %s", section->count, out->shape_text);
    if (text == NULL) return lvlm_fail_memory(err);
    TRY(resolve_shape(out, text, config, key, err));
    out->transform =
        lvlm_transform_stack(&out->transform, &one, out->shape.dims[0], block);
    return 0;
}

int lvlm_npz_place(const char **key, lvlm_storage *out, size_t at,
                   const lvlm_family *family, const lvlm_section *section,
                   const lvlm_row *row, uint64_t block, const cJSON *config,
                   lvlm_arena *arena, lvlm_error *err)
{
    assert(family->npz != NULL);
    *out = (lvlm_storage){ 0 };
    *key = NULL;
    for (const lvlm_npz_section *s = family->npz->sections; s->native != NULL; s++) {
        if (strcmp(s->native, section->native) != 0) continue;
        for (const lvlm_npz_row *r = s->rows; r->native != NULL; r++) {
            const size_t n = s->stacked != NULL ? 2 : 1;
            if (strcmp(r->native, row->native) != 0) continue;
            if (at >= n) {
                at -= n;
                continue;
            }
            const bool stacked = n == 2 && at == 0;
            *key = lvlm_names_join(stacked ? s->stacked : s->key, block, r->key, arena);
            if (*key == NULL) return lvlm_fail_memory(err);
            TRY(resolve_shape(out, r->shape, config, *key, err));
            use_order(out, r);
            return stacked ? stack(out, s, block, config, *key, arena, err) : 0;
        }
    }
    return 0;
}
