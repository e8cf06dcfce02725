/* npz_names.c - finds places by a family's table for .npz; see npz_names.h. */
#include "formats/family/npz_names.h"

#include <assert.h>
#include <string.h>

#include "formats/family/names.h"

static const char params[] = "params/";

const char *lvlm_npz_canonical(const char *key)
{
    const size_t skip = sizeof params - 1;
    return strncmp(key, params, skip) == 0 ? key + skip : key;
}

/* Resolve the symbols of the row, for one block. */
static int resolve(lvlm_npz_place *out, const lvlm_npz_row *row, const cJSON *config,
                   lvlm_error *err)
{
    size_t n_order;
    bool reorders = row->select > 0;
    FAIL_IF(!lvlm_dims_shape(&out->shape, row->shape, config), err, LVLM_EFORMAT,
            "configuration: the shape of %s cannot be computed", out->key);
    out->dims = row->shape;
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
    uint64_t n;
    unsigned char *dims = lvlm_arena_alloc(arena, LVLM_ROW_DIMS, 1);
    if (dims == NULL) return lvlm_fail_memory(err);
    FAIL_IF(!lvlm_dim_value(&n, (lvlm_dim)section->n, config), err, LVLM_EFORMAT,
            "configuration: the shape of %s cannot be computed", out->key);
    assert(out->shape.n < LVLM_ROW_DIMS);
    out->transform = lvlm_transform_stack(&out->transform, &out->shape, n, block);
    dims[0] = section->n;
    memcpy(dims + 1, out->dims, LVLM_ROW_DIMS - 1);
    out->dims = dims;
    memmove(out->shape.dims + 1, out->shape.dims, out->shape.n * sizeof n);
    out->shape.dims[0] = n;
    out->shape.n++;
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
