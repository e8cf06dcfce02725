/* projection_values.c - looks at the values of projections; see projection_values.h. */
#include "verify/projection_values.h"

#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/digest.h"
#include "verify/values.h"

enum { BLOCK = LVLM_VALUES_BLOCK };

/* One map, read. */
typedef struct map {
    const char *name;
    lvlm_shape shape;
    lvlm_dtype dtype;
    lvlm_hex_digest digest; /* of its elements; "": it was not read */
    double first;
    bool constant;
} map;

static bool can_be_read(const lvlm_projection_state *p, const lvlm_target *t,
                        const lvlm_values *v)
{
    return (t->state == LVLM_TARGET_FOUND || t->state == LVLM_TARGET_MADE) &&
           strcmp(p->form, "missing") != 0 && v->tensor != NULL &&
           v->tensor->data != NULL && v->expected == NULL &&
           lvlm_dtype_is_weight(v->tensor->dtype);
}

static int read_map(map *m, const lvlm_values *v, unsigned char *bytes, double *values,
                    lvlm_error *err)
{
    const lvlm_dtype dtype = v->tensor->dtype;
    const uint64_t numel = lvlm_values_count(v);
    lvlm_digest digest = lvlm_digest_start();
    m->dtype = dtype;
    m->constant = numel > 1;
    for (uint64_t at = 0; at < numel; at += BLOCK) {
        const size_t n = numel - at < BLOCK ? (size_t)(numel - at) : BLOCK;
        const unsigned char *const from = lvlm_values_fetch(v, at, n, bytes);
        lvlm_digest_update(&digest, from, n * lvlm_dtype_bytes(dtype));
        lvlm_values_widen(values, from, dtype, n);
        if (at == 0) m->first = values[0];
        for (size_t i = 0; m->constant && i < n; i++)
            m->constant = values[i] == m->first;
    }
    return lvlm_digest_finish(&digest, m->digest, err);
}

/* The earlier map with the same values; NULL: none. */
static const char *find_same(const map *maps, size_t n, const map *m)
{
    for (size_t i = 0; i < n; i++)
        if (maps[i].dtype == m->dtype && lvlm_shape_equal(&maps[i].shape, &m->shape) &&
            strcmp(maps[i].digest, m->digest) == 0)
            return maps[i].name;
    return NULL;
}

static lvlm_projection_values judge(const map *maps, size_t i)
{
    const map *const m = &maps[i];
    lvlm_projection_values v = { .look = NULL };
    if (m->digest[0] == '\0') return v;
    if (m->constant) {
        v.look = m->first == 0 ? "zero" : "constant";
        v.value = m->first;
    } else if ((v.same_as = find_same(maps, i, m)) != NULL) {
        v.look = "duplicate";
    }
    return v;
}

static int read_all(lvlm_projection_values *out, map *maps, const lvlm_manifest *m,
                    lvlm_error *err)
{
    unsigned char *const bytes = lvlm_malloc(BLOCK * sizeof(double));
    double *const values = lvlm_malloc(BLOCK * sizeof *values);
    lvlm_projection_cursor at = { 0, 0 };
    lvlm_projection_state p;
    int rc = bytes != NULL && values != NULL ? 0 : lvlm_fail_memory(err);
    for (size_t i = 0; rc == 0 && lvlm_projections_next(&p, m, &at); i++) {
        const lvlm_target *const t = lvlm_manifest_find(m, p.name);
        maps[i].name = p.name;
        maps[i].shape = p.shape;
        const lvlm_values v = lvlm_values_of(m, t);
        if (can_be_read(&p, t, &v)) rc = read_map(&maps[i], &v, bytes, values, err);
        if (rc == 0) out[i] = judge(maps, i);
    }
    lvlm_free(values);
    lvlm_free(bytes);
    return rc;
}

int lvlm_projection_values_read(lvlm_projection_values **out,
                                const lvlm_manifest *manifest, lvlm_arena *arena,
                                lvlm_error *err)
{
    lvlm_projection_cursor at = { 0, 0 };
    lvlm_projection_state p;
    size_t n = 0;
    while (lvlm_projections_next(&p, manifest, &at)) n++;
    map *const maps = lvlm_calloc(n + 1, sizeof *maps);
    *out = lvlm_arena_alloc(arena, n + 1, sizeof **out);
    int rc = maps != NULL && *out != NULL ? 0 : lvlm_fail_memory(err);
    if (rc == 0) rc = read_all(*out, maps, manifest, err);
    lvlm_free(maps);
    return rc;
}

bool lvlm_projection_values_fail(const lvlm_projection_values *values,
                                 const lvlm_projection_state *state)
{
    return values->look != NULL && values->same_as == NULL &&
           strcmp(state->form, "made") != 0;
}
