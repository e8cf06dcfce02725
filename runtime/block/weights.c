/* weights.c - from native names to fields.
 *
 *   row -> target of the manifest -> (tied: the target it is tied to) -> checked source
 *       -> matrix: borrowed from the mapping | vector: widened into `vectors` */
#include "runtime/block/weights.h"

#include <assert.h>
#include <stdio.h>

#include "formats/base/alloc.h"
#include "formats/base/size.h"
#include "formats/base/text.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/norm.h"

enum {
    NAME_BYTES = 512, /* far above any native name */
    VECTOR_STEP = 16, /* elements: every vector starts on a cache line of f32 */
};

/* The tensor that holds the values of `name`, or an error. NULL: the family does not
 * have it, or it is the identity. */
static int find_source(const lvlm_target **out, const lvlm_manifest *manifest,
                       const char *name, lvlm_error *err)
{
    const lvlm_target *target = lvlm_manifest_find(manifest, name);
    if (target != NULL && target->state == LVLM_TARGET_TIED)
        target = lvlm_manifest_find(manifest, target->row->tied_to);
    *out = NULL;
    if (target == NULL || target->state == LVLM_TARGET_IDENTITY) return 0;
    FAIL_IF(target->state == LVLM_TARGET_MISSING || target->here.tensor == NULL, err,
            LVLM_EFORMAT, "tensor '%s': is missing", name);
    *out = target;
    return 0;
}

static int check_shape(const lvlm_target *target, const char *name, lvlm_error *err)
{
    char want[LVLM_SHAPE_TEXT], got[LVLM_SHAPE_TEXT];
    FAIL_IF(target->here.wrong_shape, err, LVLM_EFORMAT,
            "tensor '%s': shape %s, expected %s", name,
            lvlm_shape_text(got, &target->here.tensor->shape),
            lvlm_shape_text(want, &target->here.shape));
    return 0;
}

static int check_data(const lvlm_target *target, const char *name, lvlm_error *err)
{
    const lvlm_tensor *const source = target->here.tensor;
    FAIL_IF(!lvlm_dtype_is_weight(source->dtype), err, LVLM_EFORMAT,
            "tensor '%s': dtype %s, expected F32, F64, BF16 or F16", name,
            lvlm_dtype_name(source->dtype));
    FAIL_IF(!lvlm_transform_is_keep(&target->here.transform), err, LVLM_EFORMAT,
            "tensor '%s': has another layout in its source; convert it first", name);
    FAIL_IF(source->data == NULL, err, LVLM_EFORMAT, "tensor '%s': has no data", name);
    FAIL_IF((uintptr_t)source->data % lvlm_dtype_bytes(source->dtype) != 0, err,
            LVLM_EFORMAT, "tensor '%s': starts off its alignment; convert it first",
            name);
    return 0;
}

static const real *keep_vector(weights *w, lvlm_stored stored, size_t numel)
{
    const real *kept = NULL;
    if (w->vectors == NULL) {
        w->numel += lvlm_round_up(numel, VECTOR_STEP);
        return NULL;
    }
    assert(w->used + numel <= w->numel); /* as measured */
    stored_widen(w->vectors + w->used, stored, 0, numel);
    kept = w->vectors + w->used;
    w->used += lvlm_round_up(numel, VECTOR_STEP);
    return kept;
}

static int bind_row(weights *w, void *field, const weight_row *row, const char *name,
                    lvlm_error *err)
{
    const lvlm_target *target = NULL;
    TRY(find_source(&target, w->manifest, name, err));
    if (target == NULL) return 0; /* the field stays absent */
    TRY(check_shape(target, name, err));
    TRY(check_data(target, name, err));
    /* an adapter belongs to the weight of that name, tied or not */
    const lvlm_target *const named = lvlm_manifest_find(w->manifest, name);
    const lowrank *const adapter =
        w->adapters != NULL ? w->adapters[named - w->manifest->targets] : NULL;
    const size_t index = (size_t)(target - w->manifest->targets);
    real *const grad = w->grads != NULL ? w->grads[index] : NULL;
    real *const values = w->values != NULL ? w->values[index] : NULL;
    lvlm_stored stored = { target->here.tensor->data, target->here.tensor->dtype };
    if (values != NULL) stored = (lvlm_stored){ values, LVLM_REAL_DTYPE };
    w->n_trained += grad != NULL || adapter != NULL;
    if (row->kind == WEIGHT_MATRIX) {
        *(weight_matrix *)field = (weight_matrix){ stored, grad, adapter };
        return 0;
    }
    const size_t numel = (size_t)lvlm_tensor_numel(target->here.tensor);
    const real *v = values != NULL ? values : keep_vector(w, stored, numel);
    *(weight_vector *)field = (weight_vector){ v, grad };
    return 0;
}

int weights_bind(weights *w, void *part, const weight_row *rows, const char *prefix,
                 lvlm_error *err)
{
    for (const weight_row *row = rows; row->name != NULL; row++) {
        char name[NAME_BYTES];
        (void)snprintf(name, sizeof name, "%s%s", prefix, row->name);
        TRY(bind_row(w, (char *)part + row->offset, row, name, err));
    }
    return 0;
}

int weights_allocate(weights *w, lvlm_error *err)
{
    w->vectors = lvlm_calloc(w->numel, sizeof *w->vectors);
    FAIL_IF(w->vectors == NULL, err, LVLM_ENOMEM, "out of memory for %zu weights",
            w->numel);
    return 0;
}

void weights_free(weights *w)
{
    lvlm_free(w->vectors);
    w->vectors = NULL;
}

void weights_release_pages(const weights *w, const char *prefix)
{
    const lvlm_manifest *const m = w->manifest;
    for (size_t i = 0; i < m->n_targets; i++) {
        const lvlm_tensor *const t = m->targets[i].here.tensor;
        if (t != NULL && lvlm_starts_with(m->targets[i].name, prefix))
            lvlm_tensor_done_with(t, 0, t->n_bytes);
    }
}

void dense_forward(real *y, const real *x, const weight_matrix *w,
                   const weight_vector *b, size_t N, size_t I, size_t O,
                   const ops_scratch *scratch)
{
    assert(w->w.data != NULL);
    linear_forward(y, x, w->w, b != NULL ? b->v : NULL, N, I, O, scratch);
    if (w->adapter != NULL) lowrank_forward(y, x, w->adapter, N, I, O, scratch);
}

void dense_backward(real *dx, const real *dy, const real *x, const weight_matrix *w,
                    const weight_vector *b, size_t N, size_t I, size_t O,
                    const ops_scratch *scratch)
{
    assert(w->w.data != NULL);
    linear_backward(dx, w->grad, b != NULL ? b->grad : NULL, dy, x, w->w, N, I, O,
                    scratch);
    if (w->adapter != NULL) lowrank_backward(dx, dy, x, w->adapter, N, I, O, scratch);
}

void norm_forward(real *y, const real *x, const norm_layer *n, size_t N, size_t C)
{
    assert(n->w.v != NULL && n->eps > 0 && (n->rms || n->b.v != NULL));
    if (n->rms)
        rmsnorm_forward(y, x, n->w.v, (real)n->offset, (real)n->eps, N, C);
    else
        layernorm_forward(y, x, n->w.v, n->b.v, (real)n->eps, N, C);
}

void norm_backward(real *dx, const real *dy, const real *x, const norm_layer *n,
                   size_t N, size_t C, const ops_scratch *scratch)
{
    assert(n->w.v != NULL && n->eps > 0);
    if (n->rms)
        rmsnorm_backward(dx, n->w.grad, dy, x, n->w.v, (real)n->offset, (real)n->eps, N,
                         C, scratch);
    else
        layernorm_backward(dx, n->w.grad, n->b.grad, dy, x, n->w.v, (real)n->eps, N, C,
                           scratch);
}
