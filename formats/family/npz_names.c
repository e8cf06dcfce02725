/* npz_names.c - finds places by a family's table for .npz; see npz_names.h. */
#include "formats/family/npz_names.h"

#include <string.h>

#include "formats/family/names.h"

static const char params[] = "params/";

const char *lvlm_npz_canonical(const char *key)
{
    const size_t skip = sizeof params - 1;
    return strncmp(key, params, skip) == 0 ? key + skip : key;
}

/* Resolve the shape of the row, for one block. */
static int resolve(lvlm_npz_place *out, const lvlm_npz_row *row, const cJSON *config,
                   lvlm_error *err)
{
    size_t n_order;
    bool reorders = row->select > 0;
    FAIL_IF(!lvlm_shape_resolve(&out->shape, row->shape, config), err, LVLM_EFORMAT,
            "configuration: the shape of %s cannot be computed", out->key);
    out->shape_text = row->shape;
    n_order = out->shape.n - (row->select > 0);
    for (size_t i = 0; i < n_order; i++) reorders |= row->order[i] != 0;
    out->transform = (lvlm_transform){ 0 };
    if (!reorders) return 0;
    out->transform.n = out->shape.n;
    out->transform.select = row->select;
    out->transform.index = row->index;
    memcpy(out->transform.axes, out->shape.dims, sizeof out->shape.dims);
    memcpy(out->transform.order, row->order, n_order);
    return 0;
}

/* The same array with blocks as the leading axis. */
static int stack(lvlm_npz_place *out, const lvlm_npz_section *section, uint64_t block,
                 const cJSON *config, lvlm_arena *arena, lvlm_error *err)
{
    lvlm_shape one = out->shape;
    char *const text =
        lvlm_arena_printf(arena, "%s, %s", section->count, out->shape_text);
    if (text == NULL) return lvlm_fail_memory(err);
    FAIL_IF(!lvlm_shape_resolve(&out->shape, text, config), err, LVLM_EFORMAT,
            "configuration: the shape of %s cannot be computed", out->key);
    out->shape_text = text;
    out->transform =
        lvlm_transform_stack(&out->transform, &one, out->shape.dims[0], block);
    return 0;
}

int lvlm_npz_place_get(lvlm_npz_place *out, size_t at, const lvlm_family *family,
                       const lvlm_section *section, const lvlm_row *row, uint64_t block,
                       const cJSON *config, lvlm_arena *arena, lvlm_error *err)
{
    *out = (lvlm_npz_place){ 0 };
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
            out->key =
                lvlm_names_join(stacked ? s->stacked : s->key, block, r->key, arena);
            if (out->key == NULL) return lvlm_fail_memory(err);
            TRY(resolve(out, r, config, err));
            return stacked ? stack(out, s, block, config, arena, err) : 0;
        }
    }
    return 0;
}
