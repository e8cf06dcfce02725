/* adapters.c - memory for low-rank pairs; see adapters.h. */
#include "runtime/model/adapters.h"

#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/size.h"
#include "formats/container/numeric.h"

/* Where every module's factors begin. */
static int lay_out(adapters *x, lvlm_error *err)
{
    uint64_t end = 0, a, b;
    for (size_t i = 0; i < x->list->n; i++) {
        x->starts[i] = (size_t)end;
        FAIL_IF(!lvlm_shape_numel(&a, &x->list->at[i].a.shape) ||
                    !lvlm_shape_numel(&b, &x->list->at[i].b.shape) ||
                    !lvlm_add_u64(&end, end, a) || !lvlm_add_u64(&end, end, b) ||
                    end > SIZE_MAX / (2 * sizeof(real)),
                err, LVLM_ENOMEM, "adapters of rank %zu are too large",
                x->list->at[i].r);
    }
    x->numel = (size_t)end;
    x->values = lvlm_calloc(x->numel, sizeof *x->values);
    x->gradients = lvlm_calloc(x->numel, sizeof *x->gradients);
    FAIL_IF(x->values == NULL || x->gradients == NULL, err, LVLM_ENOMEM,
            "out of memory for adapters of %zu values", x->numel);
    return 0;
}

/* A module's B to its rows part by part. */
static int load_b(real *to, const lvlm_adapted *m, lvlm_error *err)
{
    const size_t n = m->module->out * m->r;
    real *const all = lvlm_calloc(n, sizeof *all);
    if (all == NULL) return lvlm_fail_memory(err);
    lvlm_convert_values(all, LVLM_REAL_DTYPE, m->b.data, m->b.dtype, n);
    for (size_t p = 0; p < m->module->n_parts; p++) {
        const lvlm_transform rows = lvlm_module_rows(m->module, p, m->r);
        const size_t some = (size_t)m->module->parts[p]->shape.dims[0] * m->r;
        if (rows.n == 0)
            memcpy(to, all, some * sizeof *to);
        else if (!lvlm_transform_gather(to, 0, some, &rows,
                                        (lvlm_elements){ all, n, sizeof *all })) {
            lvlm_free(all);
            return lvlm_fail(err, LVLM_EFORMAT,
                             "%s: the rows of its parts are not those of the module",
                             m->module->name);
        }
        to += some;
    }
    lvlm_free(all);
    return 0;
}

/* The pairs of module `i`, one for each part; their A is the same. */
static int set_pairs(adapters *x, const lvlm_manifest *manifest, size_t i,
                     lvlm_error *err)
{
    const lvlm_adapted *const m = &x->list->at[i];
    assert(m->r > 0 && m->module->n_parts <= LVLM_MODULE_PARTS);
    const size_t start = x->starts[i], a_numel = m->r * m->module->in;
    size_t b = start + a_numel;
    if (m->a.data != NULL)
        lvlm_convert_values(x->values + start, LVLM_REAL_DTYPE, m->a.data, m->a.dtype,
                            a_numel);
    if (m->b.data != NULL) TRY(load_b(x->values + b, m, err));
    for (size_t p = 0; p < m->module->n_parts; p++) {
        const lvlm_target *const target = m->module->parts[p];
        lowrank *const pair = &x->pairs[i * LVLM_MODULE_PARTS + p];
        *pair = (lowrank){ .a = x->values + start,
                           .b = x->values + b,
                           .da = x->gradients + start,
                           .db = x->gradients + b,
                           .r = m->r,
                           .scale = (real)m->scale,
                           .noise = &x->noise,
                           .stream = i };
        x->of[target - manifest->targets] = pair;
        b += (size_t)target->shape.dims[0] * m->r;
    }
    assert(b - start == a_numel + m->module->out * m->r);
    return 0;
}

int adapters_make(adapters *x, const lvlm_manifest *manifest, const lvlm_adapter *list,
                  lvlm_error *err)
{
    *x = (adapters){ .list = list };
    if (list == NULL) return 0;
    assert(list->modules.manifest == manifest);
    x->noise.rate = list->config.dropout;
    x->pairs = lvlm_calloc(list->n, LVLM_MODULE_PARTS * sizeof *x->pairs);
    x->of = lvlm_calloc(manifest->n_targets, sizeof *x->of);
    x->starts = lvlm_calloc(list->n, sizeof *x->starts);
    if (x->pairs == NULL || x->of == NULL || x->starts == NULL)
        return lvlm_fail_memory(err);
    TRY(lay_out(x, err));
    for (size_t i = 0; i < list->n; i++) TRY(set_pairs(x, manifest, i, err));
    return 0;
}

void adapters_free(adapters *x)
{
    lvlm_free(x->pairs);
    lvlm_free(x->of);
    lvlm_free(x->values);
    lvlm_free(x->gradients);
    lvlm_free(x->starts);
    *x = (adapters){ 0 };
}

bool adapters_touch(const adapters *x, lvlm_weight_part part)
{
    for (size_t i = 0; x->list != NULL && i < x->list->n; i++)
        if (lvlm_part_of(x->list->at[i].module->parts[0]->name) == part) return true;
    return false;
}

size_t adapters_scratch(const adapters *x, size_t n_threads)
{
    size_t most = 0;
    for (size_t i = 0; x->list != NULL && i < x->list->n; i++) {
        const lvlm_adapted *const m = &x->list->at[i];
        const size_t needs = lowrank_scratch(m->module->in, m->r, n_threads);
        if (needs > most) most = needs;
    }
    return most;
}

bool adapters_factors(const adapters *x, lvlm_factors *out, size_t i)
{
    if (x->list == NULL || i >= x->list->n) return false;
    const lvlm_adapted *const m = &x->list->at[i];
    const size_t start = x->starts[i];
    out->a_numel = m->r * m->module->in;
    out->b_numel = m->module->out * m->r;
    out->a = x->values + start;
    out->b = x->values + start + out->a_numel;
    out->da = x->gradients + start;
    out->db = x->gradients + start + out->a_numel;
    return true;
}
