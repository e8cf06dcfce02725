/* adapter_fold.c - an adapter folded into a native file's weights; see adapter_fold.h.
 *
 *   one worker per tensor: factors in double, or the values that were saved whole
 *     -> row by row to the new file */
#include "formats/adapter/adapter_fold.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "formats/adapter/adapter_saved.h"
#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/container/finite.h"
#include "formats/container/numeric.h"
#include "formats/native/history.h"
#include "formats/native/rewrite.h"

/* One adapted tensor's part of the cost. */
typedef struct part_cost {
    lvlm_fold_cost cost;
    uint64_t first; /* index of the first value that is not finite */
} part_cost;

typedef struct work {
    const lvlm_adapter *adapter;
    part_cost *parts;     /* (n + n_saved, LVLM_MODULE_PARTS) of each tensor */
    lvlm_fold_cost *cost; /* of all */
} work;

/* ---- one tensor ----------------------------------------------------------------- */

/* A tensor that changes and the buffers of one row. */
typedef struct row_fold {
    lvlm_fold_factors f; /* of a pair; its arena has the buffers */
    const lvlm_tensor *stored;
    size_t rows, in, element;
    const lvlm_saved *saved; /* in place of a pair, or NULL */
    size_t part;
    double *before, *exact, *kept; /* (in) as stored, with the adapter, rounded */
    unsigned char *merged;         /* (in) kept, in the stored type */
} row_fold;

static bool changes(void *user, const lvlm_tensor *tensor)
{
    const work *const w = user;
    size_t part;
    return lvlm_adapter_find(&part, w->adapter, tensor->name) != NULL ||
           lvlm_adapter_find_saved(&part, w->adapter, tensor->name) != NULL;
}

static int make_buffers(row_fold *f, lvlm_error *err)
{
    assert(f->stored->shape.n > 0 && f->in > 0);
    f->before = lvlm_arena_alloc(&f->f.arena, f->in, 3 * sizeof *f->before);
    f->merged = lvlm_arena_alloc(&f->f.arena, f->in, sizeof(double));
    if (f->before == NULL || f->merged == NULL) return lvlm_fail_memory(err);
    f->exact = f->before + f->in;
    f->kept = f->exact + f->in;
    return 0;
}

int lvlm_fold_factors_make(lvlm_fold_factors *f, const lvlm_adapted *x, size_t part,
                           size_t n_rows, lvlm_error *err)
{
    assert(x->a.data != NULL && x->b.data != NULL);
    const lvlm_module *const m = x->module;
    const lvlm_transform rows = lvlm_module_rows(m, part, x->r);
    *f = (lvlm_fold_factors){
        .rows = n_rows, .in = m->in, .r = x->r, .scale = x->scale
    };
    const size_t n_all = m->out * x->r;
    double *const all = lvlm_arena_alloc(&f->arena, m->out, x->r * sizeof *all);
    f->a = lvlm_arena_alloc(&f->arena, x->r, m->in * sizeof *f->a);
    f->b = rows.n == 0 ? all : lvlm_arena_alloc(&f->arena, n_rows, x->r * sizeof *f->b);
    if (all == NULL || f->a == NULL || f->b == NULL) return lvlm_fail_memory(err);
    lvlm_convert_values(f->a, LVLM_F64, x->a.data, x->a.dtype, x->r * m->in);
    lvlm_convert_values(all, LVLM_F64, x->b.data, x->b.dtype, n_all);
    FAIL_IF(rows.n > 0 && !lvlm_transform_gather(
                              f->b, 0, n_rows * x->r, &rows,
                              (lvlm_elements){ .at = all, n_all, sizeof *all }),
            err, LVLM_EFORMAT, "%s: the rows of its parts are not those of the module",
            m->name);
    return 0;
}

void lvlm_fold_factors_free(lvlm_fold_factors *f)
{
    lvlm_arena_free(&f->arena);
    *f = (lvlm_fold_factors){ 0 };
}

/* Free f->f, also after a failure. */
static int row_fold_make(row_fold *f, const lvlm_adapted *x, size_t part,
                         const lvlm_tensor *stored, lvlm_error *err)
{
    assert(stored->shape.n == 2);
    *f = (row_fold){ .stored = stored,
                     .rows = (size_t)stored->shape.dims[0],
                     .in = x->module->in,
                     .element = lvlm_dtype_bytes(stored->dtype) };
    TRY(lvlm_fold_factors_make(&f->f, x, part, f->rows, err));
    return make_buffers(f, err);
}

/* The same for a tensor that is saved whole: its values are the exact ones. */
static int row_fold_replace(row_fold *f, const lvlm_saved *saved, size_t part,
                            const lvlm_tensor *stored, lvlm_error *err)
{
    const size_t numel = (size_t)lvlm_tensor_numel(stored);
    const size_t in = (size_t)stored->shape.dims[stored->shape.n - 1];
    assert(saved->value.data != NULL && in > 0);
    *f = (row_fold){ .stored = stored,
                     .rows = numel / in,
                     .in = in,
                     .element = lvlm_dtype_bytes(stored->dtype),
                     .saved = saved,
                     .part = part };
    return make_buffers(f, err);
}

/* exact = before + scale b a, for row o */
static void add_row(const row_fold *f, size_t o)
{
    assert(o < f->rows);
    const size_t in = f->in;
    double *const exact = f->exact;
    memset(exact, 0, in * sizeof *exact);
    for (size_t k = 0; k < f->f.r; k++) {
        const double b = f->f.b[o * f->f.r + k], *const a = f->f.a + k * in;
        for (size_t i = 0; i < in; i++) exact[i] += b * a[i];
    }
    for (size_t i = 0; i < in; i++) exact[i] = f->before[i] + f->f.scale * exact[i];
}

/* Compute row o of f->merged, and its cost. *first: the first value that is not
 * finite. */
static int merge_row(const row_fold *f, size_t o, lvlm_fold_cost *cost, uint64_t *first,
                     lvlm_error *err)
{
    const lvlm_dtype dtype = f->stored->dtype;
    const unsigned char *const stored = f->stored->data + o * f->in * f->element;
    lvlm_convert_values(f->before, LVLM_F64, stored, dtype, f->in);
    if (f->saved == NULL)
        add_row(f, o);
    else
        TRY(lvlm_saved_read(f->exact, LVLM_F64, f->saved, f->part, o * f->in, f->in,
                            err));
    lvlm_convert_values(f->merged, dtype, f->exact, LVLM_F64, f->in);
    lvlm_convert_values(f->kept, LVLM_F64, f->merged, dtype, f->in);
    for (size_t i = 0; i < f->in; i++) {
        if (!isfinite(f->kept[i])) { /* values that were not finite before are kept */
            if (isfinite(f->before[i]) && cost->n_not_finite++ == 0)
                *first = o * f->in + i;
            continue;
        }
        const double error = fabs(f->kept[i] - f->exact[i]);
        const double change = f->exact[i] - f->before[i];
        cost->n_lost += change != 0 && f->kept[i] == f->before[i];
        if (!(error <= cost->max_error)) cost->max_error = error;
        cost->error2 += error * error;
        cost->exact2 += f->exact[i] * f->exact[i];
        cost->change2 += change * change;
    }
    cost->n_values += f->in;
    return 0;
}

static int write(void *user, const lvlm_step *step, lvlm_sink *sink, lvlm_error *err)
{
    const work *const w = user;
    const lvlm_adapter *const adapter = w->adapter;
    part_cost c = { .cost = { .n_tensors = 1 } };
    row_fold f;
    size_t part, at;
    int rc;
    const lvlm_adapted *const x = lvlm_adapter_find(&part, adapter, step->out.name);
    if (x != NULL) {
        at = (size_t)(x - adapter->at);
        rc = row_fold_make(&f, x, part, step->inputs[0], err);
    } else {
        const lvlm_saved *const saved =
            lvlm_adapter_find_saved(&part, adapter, step->out.name);
        assert(saved != NULL); /* changes */
        at = adapter->n + (size_t)(saved - adapter->saved);
        rc = row_fold_replace(&f, saved, part, step->inputs[0], err);
        c.cost.n_replaced = 1;
    }
    for (size_t o = 0; rc == 0 && o < f.rows; o++) {
        rc = merge_row(&f, o, &c.cost, &c.first, err);
        if (rc == 0) lvlm_sink_put(sink, step->out.dtype, f.merged, f.in);
    }
    lvlm_fold_factors_free(&f.f);
    w->parts[at * LVLM_MODULE_PARTS + part] = c;
    return rc;
}

/* ---- the file ------------------------------------------------------------------- */

static void add_cost(lvlm_fold_cost *sum, const lvlm_fold_cost *more)
{
    sum->n_tensors += more->n_tensors;
    sum->n_replaced += more->n_replaced;
    sum->n_values += more->n_values;
    sum->n_lost += more->n_lost;
    sum->n_not_finite += more->n_not_finite;
    if (!(more->max_error <= sum->max_error)) sum->max_error = more->max_error;
    sum->error2 += more->error2;
    sum->exact2 += more->exact2;
    sum->change2 += more->change2;
}

/* The native tensor of a part; NULL: there are not so many. */
static const lvlm_target *target_of(const lvlm_adapter *x, size_t i)
{
    const size_t at = i / LVLM_MODULE_PARTS, part = i % LVLM_MODULE_PARTS;
    if (at < x->n)
        return part < x->at[at].module->n_parts ? x->at[at].module->parts[part] : NULL;
    const lvlm_saved *const saved = &x->saved[at - x->n];
    return part < saved->n_parts ? saved->parts[part] : NULL;
}

static int refuse_overflow(const work *w, size_t i, lvlm_error *err)
{
    assert(w->cost->n_not_finite > 0);
    const lvlm_target *const t = target_of(w->adapter, i);
    const lvlm_dtype dtype = t->here.tensor->dtype;
    char place[LVLM_SHAPE_TEXT];
    return lvlm_fail(err, LVLM_ECHECK,
                     "%" PRIu64
                     " values are not finite with the adapter folded in, the "
                     "first in '%s' at %s; %s ends at %.6g",
                     w->cost->n_not_finite, t->name,
                     lvlm_place_text(place, &t->shape, w->parts[i].first),
                     lvlm_dtype_name(dtype), lvlm_dtype_most(dtype));
}

/* Sum up the cost of all tensors; fails if any value is no longer finite. */
static int finish(void *user, lvlm_native_meta *meta, lvlm_error *err)
{
    (void)meta;
    work *const w = user;
    const size_t n = (w->adapter->n + w->adapter->n_saved) * LVLM_MODULE_PARTS;
    size_t first = n;
    for (size_t i = n; i > 0; i--) {
        add_cost(w->cost, &w->parts[i - 1].cost);
        if (w->parts[i - 1].cost.n_not_finite > 0) first = i - 1;
    }
    return first < n ? refuse_overflow(w, first, err) : 0;
}

int lvlm_fold_check(const lvlm_adapter *adapter, lvlm_error *err)
{
    for (size_t i = 0; i < (adapter->n + adapter->n_saved) * LVLM_MODULE_PARTS; i++) {
        const lvlm_target *const t = target_of(adapter, i);
        const bool pair = i < adapter->n * LVLM_MODULE_PARTS;
        if (t == NULL || (!pair && t->state == LVLM_TARGET_TIED)) continue;
        FAIL_IF(t->state == LVLM_TARGET_TIED, err, LVLM_EFORMAT,
                "%s is tied to %s and has no weight of its own: its adapter can be "
                "kept beside the model, not folded in",
                adapter->at[i / LVLM_MODULE_PARTS].module->name, t->row->tied_to);
        FAIL_IF(t->here.tensor == NULL || t->here.wrong_shape ||
                    !lvlm_dtype_is_weight(t->here.tensor->dtype),
                err, LVLM_EFORMAT, "tensor '%s': is missing or not a weight", t->name);
    }
    return 0;
}

static int add_merge(cJSON *provenance, const lvlm_adapter *adapter, lvlm_error *err)
{
    const lvlm_checkpoint *const model = adapter->modules.manifest->checkpoint;
    cJSON *step = NULL;
    int rc = lvlm_history_begin(&step, LVLM_HISTORY_MERGED, model, err);
    if (rc == 0) rc = lvlm_adapter_record(step, adapter, err);
    if (rc == 0) rc = lvlm_history_add(provenance, step, err);
    lvlm_json_free(step);
    return rc;
}

static int provenance_of(cJSON **out, const lvlm_adapter *adapter, const cJSON *trained,
                         lvlm_error *err)
{
    const lvlm_checkpoint *const model = adapter->modules.manifest->checkpoint;
    uint64_t steps = 0;
    TRY(lvlm_native_meta_json(out, model, "provenance", err));
    (void)lvlm_json_u64(&steps, lvlm_json_get(trained, "steps"));
    if (steps > 0) TRY(lvlm_provenance_add(*out, LVLM_PROVENANCE_STEPS, steps, err));
    TRY(lvlm_provenance_add(*out, LVLM_PROVENANCE_ADAPTERS, 1, err));
    return trained != NULL ? lvlm_history_add(*out, trained, err)
                           : add_merge(*out, adapter, err);
}

int lvlm_fold_save(lvlm_fold_cost *cost, const lvlm_adapter *adapter,
                   const cJSON *trained, lvlm_outfile *file, const lvlm_run *run,
                   lvlm_error *err)
{
    assert(adapter->modules.manifest->checkpoint->kind == LVLM_CHECKPOINT_NATIVE);
    const lvlm_checkpoint *const model = adapter->modules.manifest->checkpoint;
    work w = { .adapter = adapter, .cost = cost };
    cJSON *provenance = NULL;
    *cost = (lvlm_fold_cost){ 0 };
    TRY(lvlm_fold_check(adapter, err));
    w.parts = lvlm_calloc(adapter->n + adapter->n_saved + 1,
                          LVLM_MODULE_PARTS * sizeof *w.parts);
    int rc = w.parts != NULL ? provenance_of(&provenance, adapter, trained, err)
                             : lvlm_fail_memory(err);
    if (rc == 0) {
        const lvlm_rewrite rewrite = { .source = model,
                                       .other = adapter->file,
                                       .provenance = provenance,
                                       .changes = changes,
                                       .write = write,
                                       .finish = finish,
                                       .user = &w };
        rc = lvlm_rewrite_run(cost->root, file, &rewrite, run, err);
    }
    lvlm_json_free(provenance);
    lvlm_free(w.parts);
    return rc;
}
