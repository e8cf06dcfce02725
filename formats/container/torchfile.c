/* torchfile.c - reads tensors from files of torch.save.
 *
 *   torch_object_read    the object's pickle and the place of each storage
 *                        (torch_storages.c)
 *   find_state_dict      the dictionary that holds tensors, wrapped or not
 *   add_view             one tensor: storage, offset, size, stride, with bounds checked
 *   place_spans          sorts spans by offset; overlapping or strided tensors are
 *                        detached
 *   copy_strided         values of strided tensors, row-major
 *
 * Not here: the pickle's opcodes (pickle.c), the archive (zip.c). */
#include "formats/container/torchfile.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/size.h"
#include "formats/base/text.h"
#include "formats/base/utf8.h"
#include "formats/container/torch_storages.h"
#include "formats/container/transform.h"

typedef lvlm_pickle_value value;

/* A tensor before it becomes a span or is detached. */
typedef struct view {
    lvlm_tensor tensor;
    uint64_t stride[LVLM_MAX_DIMS]; /* in elements */
    bool strided;
} view;

typedef struct reader {
    const lvlm_infile *file;
    lvlm_read how;
    lvlm_arena *arena;  /* of the caller, for names */
    lvlm_arena scratch; /* for the object and the views */
    torch_object object;
    view *views;
    size_t n_views;
    size_t n_visited; /* nested values searched so far */
    unsigned char *copies;
    lvlm_error *err;
} reader;

/* ---- the state dict ------------------------------------------------------------- */

/* The call that builds a tensor, or NULL if `v` is something else. */
static const value *tensor_of(const value *v)
{
    if (lvlm_pickle_is_call(v, LVLM_ROLE_PARAMETER) && v->n > 0) v = v->items[0];
    return lvlm_pickle_is_call(v, LVLM_ROLE_TENSOR) ||
                   lvlm_pickle_is_call(v, LVLM_ROLE_TENSOR_V2) ||
                   lvlm_pickle_is_call(v, LVLM_ROLE_TENSOR_V3)
               ? v
               : NULL;
}

static bool holds_tensors(const value *v)
{
    if (v == NULL || v->kind != LVLM_PICKLE_DICT) return false;
    for (size_t i = 1; i < v->n; i += 2)
        if (tensor_of(v->items[i]) != NULL) return true;
    return false;
}

static int find_state_dict(const value **out, const value *object, lvlm_error *err)
{
    static const char *const wrappers[] = { "state_dict", "model", "module" };
    *out = object;
    if (holds_tensors(object)) return 0;
    for (size_t i = 0; i < sizeof wrappers / sizeof wrappers[0]; i++) {
        *out = lvlm_pickle_get(object, wrappers[i]);
        if (holds_tensors(*out)) return 0;
    }
    return lvlm_fail(err, LVLM_EFORMAT,
                     "holds no state dict: expected a dictionary of tensors, itself or "
                     "as 'state_dict', 'model' or 'module'");
}

/* ---- tensors -------------------------------------------------------------------- */

static int read_dims(uint64_t dims[LVLM_MAX_DIMS], size_t *n, const value *v,
                     const char *what, lvlm_error *err)
{
    FAIL_IF(v->kind != LVLM_PICKLE_TUPLE || v->n > LVLM_MAX_DIMS, err, LVLM_EFORMAT,
            "%s is not a tuple of up to %d numbers", what, LVLM_MAX_DIMS);
    *n = v->n;
    for (size_t i = 0; i < v->n; i++)
        FAIL_IF(!torch_whole_number(&dims[i], v->items[i]), err, LVLM_EFORMAT,
                "%s: not a whole number", what);
    return 0;
}

/* Elements from the first to the last that the view reads; 0 if it is empty. */
static bool extent(uint64_t *out, const view *v)
{
    assert(v->tensor.shape.n <= LVLM_MAX_DIMS);
    const lvlm_shape *shape = &v->tensor.shape;
    uint64_t sum = 1, step;
    for (size_t i = 0; i < shape->n; i++) {
        if (shape->dims[i] == 0) {
            *out = 0;
            return true;
        }
        if (!lvlm_mul_u64(&step, shape->dims[i] - 1, v->stride[i]) ||
            !lvlm_add_u64(&sum, sum, step))
            return false;
    }
    *out = sum;
    return true;
}

/* Do the strides differ from those of the row-major shape? The stride of an axis with
 * at most one index is ignored. */
static bool is_strided(const view *v)
{
    const lvlm_shape *shape = &v->tensor.shape;
    uint64_t step = 1;
    if (v->tensor.n_bytes == 0) return false;
    for (size_t i = shape->n; i-- > 0; step *= shape->dims[i])
        if (shape->dims[i] > 1 && v->stride[i] != step) return true;
    return false;
}

/* Place the view in its storage; `first` is its first element. */
static int place_view(view *v, const torch_storage *s, uint64_t first, lvlm_error *err)
{
    assert(s->placed);
    lvlm_tensor *t = &v->tensor;
    uint64_t n, end;
    const size_t element = lvlm_dtype_bytes(t->dtype);
    const uint64_t room = s->n_view * s->element / element;
    FAIL_IF(!lvlm_shape_bytes(&t->n_bytes, &t->shape, t->dtype), err, LVLM_EFORMAT,
            "size of the shape overflows 64 bits");
    FAIL_IF(!extent(&n, v) || !lvlm_add_u64(&end, first, n) || end > room, err,
            LVLM_EFORMAT,
            "goes from element %" PRIu64 " over the end of its storage, which has "
            "%" PRIu64,
            first, room);
    t->offset = s->offset + s->first * s->element + first * element;
    v->strided = is_strided(v);
    return 0;
}

/* Optional marks after a tensor's arguments: its values are to be negated or
 * conjugated. */
static bool is_unmarked(const value *call, size_t n_arguments)
{
    if (call->n <= n_arguments) return true;
    const value *marks = call->items[n_arguments];
    return marks->kind == LVLM_PICKLE_NONE ||
           (marks->kind == LVLM_PICKLE_DICT && marks->n == 0);
}

/* (storage, first element, size, stride, ...[, dtype][, marks]) */
static int read_view(view *v, const value *call, const torch_storage *storages,
                     lvlm_error *err)
{
    assert(call->global->role >= LVLM_ROLE_TENSOR &&
           call->global->role <= LVLM_ROLE_TENSOR_V3);
    static const size_t n_arguments[] = {
        [LVLM_ROLE_TENSOR] = 4, [LVLM_ROLE_TENSOR_V2] = 6, [LVLM_ROLE_TENSOR_V3] = 7
    };
    value *const *a = call->items;
    uint64_t first;
    size_t n_strides = 0;
    FAIL_IF(call->n < n_arguments[call->global->role] ||
                a[0]->kind != LVLM_PICKLE_PERSISTENT ||
                !torch_whole_number(&first, a[1]),
            err, LVLM_EFORMAT, "is not made of a storage and a place in it");
    FAIL_IF(!is_unmarked(call, n_arguments[call->global->role]), err, LVLM_EFORMAT,
            "is marked as negative or conjugate: its bytes are not its values; "
            "resolve_neg() before torch.save makes them so");
    const torch_storage *s = &storages[a[0]->integer];
    TRY(read_dims(v->tensor.shape.dims, &v->tensor.shape.n, a[2], "size", err));
    TRY(read_dims(v->stride, &n_strides, a[3], "stride", err));
    FAIL_IF(n_strides != v->tensor.shape.n, err, LVLM_EFORMAT,
            "has %zu dimensions and %zu strides", v->tensor.shape.n, n_strides);
    v->tensor.dtype = s->dtype;
    if (call->global->role == LVLM_ROLE_TENSOR_V3) {
        FAIL_IF(
            a[6]->kind != LVLM_PICKLE_GLOBAL || a[6]->global->role != LVLM_ROLE_DTYPE,
            err, LVLM_EFORMAT, "has no dtype");
        v->tensor.dtype = a[6]->global->dtype;
    }
    FAIL_IF(s->untyped && call->global->role != LVLM_ROLE_TENSOR_V3, err, LVLM_EFORMAT,
            "has no dtype");
    return place_view(v, s, first, err);
}

static int add_view(reader *r, const value *key, const value *call)
{
    view *v = &r->views[r->n_views++];
    FAIL_IF(key->kind != LVLM_PICKLE_TEXT || memchr(key->text, '\0', key->n) != NULL ||
                !lvlm_utf8_valid(key->text, key->n),
            r->err, LVLM_EFORMAT, "the name of a tensor is not UTF-8 text");
    v->tensor.name = lvlm_arena_strndup(r->arena, key->text, key->n);
    if (v->tensor.name == NULL) return lvlm_fail_memory(r->err);
    return lvlm_within(read_view(v, call, r->object.storages, r->err), r->err,
                       "tensor '%s': ", v->tensor.name);
}

static int read_views(reader *r)
{
    const value *dict = NULL;
    TRY(find_state_dict(&dict, r->object.pickle.value, r->err));
    r->views = lvlm_arena_alloc(&r->scratch, dict->n / 2 + 1, sizeof *r->views);
    if (r->views == NULL) return lvlm_fail_memory(r->err);
    for (size_t i = 0; i < dict->n; i += 2) {
        const value *key = dict->items[i], *item = dict->items[i + 1];
        const value *call = tensor_of(item);
        if (call != NULL) TRY(add_view(r, key, call));
        r->n_visited += item->kind == LVLM_PICKLE_DICT ? item->n : 0;
        FAIL_IF(r->n_visited > LVLM_PICKLE_MAX_VALUES, r->err, LVLM_EFORMAT,
                "holds over %d values beside its tensors", LVLM_PICKLE_MAX_VALUES);
        FAIL_IF(
            holds_tensors(item), r->err, LVLM_EFORMAT,
            "'%.*s' holds tensors below those of the state dict; expected them side "
            "by side",
            key->kind == LVLM_PICKLE_TEXT && key->n < 200 ? (int)key->n : 0,
            key->kind == LVLM_PICKLE_TEXT ? key->text : "");
    }
    return 0;
}

/* ---- spans and what is detached ------------------------------------------------- */

/* By offset; at the same offset empty tensors first, then the longest. */
static int by_offset(const void *a, const void *b)
{
    const view *x = a, *y = b;
    const lvlm_tensor *t = &x->tensor, *u = &y->tensor;
    if (x->strided != y->strided) return x->strided - y->strided;
    if (t->offset != u->offset) return t->offset < u->offset ? -1 : 1;
    if ((t->n_bytes == 0) != (u->n_bytes == 0)) return t->n_bytes == 0 ? -1 : 1;
    if (t->n_bytes != u->n_bytes) return t->n_bytes > u->n_bytes ? -1 : 1;
    return strcmp(t->name, u->name);
}

static void place_spans(reader *r)
{
    uint64_t end = 0;
    qsort(r->views, r->n_views, sizeof *r->views, by_offset);
    for (size_t i = 0; i < r->n_views; i++) {
        view *v = &r->views[i];
        lvlm_tensor *t = &v->tensor;
        t->detached = v->strided || t->offset < end;
        if (!t->detached) end = t->offset + t->n_bytes;
        const bool there =
            r->how == LVLM_READ_IN_PLACE || (r->how == LVLM_READ_ALL && !v->strided);
        if (!there) continue;
        t->data = r->file->bytes + t->offset;
        t->map = r->file;
    }
    qsort(r->views, r->n_views, sizeof *r->views, lvlm_tensor_span_order);
}

static int check_names(reader *r)
{
    const lvlm_tensor **sorted =
        lvlm_arena_alloc(&r->scratch, r->n_views + 1, sizeof *sorted);
    if (sorted == NULL) return lvlm_fail_memory(r->err);
    for (size_t i = 0; i < r->n_views; i++) sorted[i] = &r->views[i].tensor;
    qsort(sorted, r->n_views, sizeof *sorted, lvlm_by_name);
    for (size_t i = 1; i < r->n_views; i++)
        FAIL_IF(strcmp(sorted[i - 1]->name, sorted[i]->name) == 0, r->err, LVLM_EFORMAT,
                "tensor '%s': is listed twice", sorted[i]->name);
    return 0;
}

/* ---- strided tensors ------------------------------------------------------------ */

/* Strides for callers that read in place. */
static int keep_strides(reader *r)
{
    for (size_t i = 0; i < r->n_views; i++) {
        view *v = &r->views[i];
        if (!v->strided) continue;
        uint64_t *stride = lvlm_arena_alloc(r->arena, LVLM_MAX_DIMS, sizeof *stride);
        if (stride == NULL) return lvlm_fail_memory(r->err);
        memcpy(stride, v->stride, sizeof v->stride);
        v->tensor.stride = stride;
    }
    return 0;
}

static int copy_strided(reader *r)
{
    assert(r->copies == NULL);
    uint64_t total = 0;
    for (size_t i = 0; i < r->n_views; i++) {
        const view *v = &r->views[i];
        if (!v->strided) continue;
        FAIL_IF(v->tensor.n_bytes > r->file->n_bytes ||
                    (total += v->tensor.n_bytes) > r->file->n_bytes,
                r->err, LVLM_EFORMAT,
                "tensor '%s': is expanded: strided tensors would take more bytes than "
                "the file has",
                v->tensor.name);
    }
    if (r->how == LVLM_READ_IN_PLACE) return keep_strides(r);
    if (total == 0 || r->how == LVLM_READ_HEADERS) return 0;
    unsigned char *to = r->copies = lvlm_malloc((size_t)total);
    if (to == NULL) return lvlm_fail_memory(r->err);
    for (size_t i = 0; i < r->n_views; i++) {
        view *v = &r->views[i];
        if (!v->strided) continue;
        const lvlm_elements from = { r->file->bytes + v->tensor.offset,
                                     lvlm_tensor_numel(&v->tensor),
                                     lvlm_dtype_bytes(v->tensor.dtype),
                                     &v->tensor.shape, v->stride };
        lvlm_elements_read(to, 0, from.n, &from);
        v->tensor.data = to;
        to += v->tensor.n_bytes;
    }
    return 0;
}

/* ---- public --------------------------------------------------------------------- */

bool lvlm_torchfile_is(const lvlm_infile *file)
{
    return lvlm_zip_is(file) || torch_is_legacy(file);
}

static int read_all(lvlm_archive *out, reader *r)
{
    TRY(torch_object_read(&r->object, r->file, &r->scratch, r->arena, r->err));
    TRY(read_views(r));
    TRY(check_names(r));
    place_spans(r);
    TRY(copy_strided(r));
    out->tensors = lvlm_arena_alloc(r->arena, r->n_views + 1, sizeof *out->tensors);
    if (out->tensors == NULL) return lvlm_fail_memory(r->err);
    for (size_t i = 0; i < r->n_views; i++) out->tensors[i] = r->views[i].tensor;
    out->n_tensors = r->n_views;
    out->zip = r->object.zip;
    return 0;
}

int lvlm_torchfile_read(lvlm_archive *out, const lvlm_infile *file, lvlm_read how,
                        lvlm_arena *arena, lvlm_error *err)
{
    reader r = { .file = file, .how = how, .arena = arena, .err = err };
    *out = (lvlm_archive){ 0 };
    const int rc = read_all(out, &r);
    lvlm_arena_free(&r.scratch);
    if (rc == 0)
        out->copies = r.copies;
    else
        lvlm_free(r.copies);
    return rc;
}
