/* compare.c - pairs tensors by native name and walks each pair in blocks. */
#include "verify/compare.h"

#include <string.h>

#include "formats/base/alloc.h"
#include "formats/numeric.h"

enum { BLOCK = 1 << 15 };

/* One side of a pair: a tensor and how the compared values lie in it. */
typedef struct side {
    const lvlm_tensor *tensor;
    const lvlm_transform *transform;
} side;

typedef struct run {
    const lvlm_compare_options *options;
    lvlm_compare_result *result;
    unsigned char *bytes; /* 2 * BLOCK elements as stored */
    double *values;       /* 2 * BLOCK */
    uint64_t done;
} run;

static const lvlm_transform keep;

/* ---- values --------------------------------------------------------------------- */

static uint64_t side_numel(const side *s)
{
    return lvlm_transform_is_keep(s->transform) ? lvlm_tensor_numel(s->tensor)
                                                : lvlm_transform_numel(s->transform);
}

/* Elements [first, first + n) of a side, as stored. */
static const unsigned char *fetch(const side *s, uint64_t first, size_t n,
                                  unsigned char *buffer)
{
    const size_t element = lvlm_dtype_bytes(s->tensor->dtype);
    if (lvlm_transform_is_keep(s->transform)) return s->tensor->data + first * element;
    lvlm_transform_forward(buffer, first, n, s->transform, s->tensor->data, element);
    return buffer;
}

static void to_double(double *to, const unsigned char *from, lvlm_dtype dtype, size_t n)
{
    if (lvlm_dtype_is_weight(dtype)) {
        lvlm_convert_values(to, LVLM_F64, from, dtype, n);
        return;
    }
    const size_t size = lvlm_dtype_bytes(dtype); /* integers: by their bits, unsigned */
    for (size_t i = 0; i < n; i++) {
        uint64_t value = 0;
        memcpy(&value, from + i * size, size);
        to[i] = (double)value;
    }
}

static void tell(run *r, uint64_t n_bytes)
{
    r->done += n_bytes;
    if (r->options->progress != NULL)
        r->options->progress(r->options->progress_user, r->done);
}

/* Walks the first `numel` elements of a pair in blocks; true when all bytes are the
 * same. With `distance` the values are added up as well, which the rare pair that
 * differs needs. */
static bool walk(run *r, const side *a, const side *b, uint64_t numel,
                 lvlm_distance *distance)
{
    const lvlm_dtype da = a->tensor->dtype, db = b->tensor->dtype;
    bool same = da == db;
    for (uint64_t at = 0; at < numel && (same || distance != NULL); at += BLOCK) {
        const size_t n = numel - at < BLOCK ? (size_t)(numel - at) : BLOCK;
        const unsigned char *x = fetch(a, at, n, r->bytes);
        const unsigned char *y = fetch(b, at, n, r->bytes + BLOCK * sizeof(double));
        same = same && memcmp(x, y, n * lvlm_dtype_bytes(da)) == 0;
        if (distance == NULL) continue;
        to_double(r->values, x, da, n);
        to_double(r->values + BLOCK, y, db, n);
        lvlm_distance_add(distance, r->values, r->values + BLOCK, n);
    }
    return same;
}

/* ---- pairs ---------------------------------------------------------------------- */

static void finish(run *r, const lvlm_comparison *c)
{
    r->result->n++;
    if (c->sameness == LVLM_SAME_BITS || c->sameness == LVLM_SAME_VALUES)
        r->result->n_same++;
    else
        r->result->n_differ++;
    r->options->row(r->options->user, c);
}

/* Tables of word vectors have rows behind the last word, or not. */
static uint64_t same_rows(run *r, const side *a, const side *b)
{
    const lvlm_shape *x = &a->tensor->shape, *y = &b->tensor->shape;
    lvlm_shape both = *x;
    if (x->n < 2 || x->n != y->n || !lvlm_transform_is_keep(a->transform) ||
        !lvlm_transform_is_keep(b->transform))
        return 0;
    both.dims[0] = y->dims[0];
    if (!lvlm_shape_equal(&both, y)) return 0;
    const uint64_t rows = x->dims[0] < y->dims[0] ? x->dims[0] : y->dims[0];
    const side *shorter = x->dims[0] < y->dims[0] ? a : b;
    return walk(r, a, b, side_numel(shorter), NULL) ? rows : 0;
}

static void compare_pair(run *r, const char *name, const side *a, const side *b,
                         bool retied)
{
    lvlm_comparison c = {
        .name = name, .a = a->tensor, .b = b->tensor, .retied = retied
    };
    if (a->tensor == NULL || b->tensor == NULL) {
        c.sameness = a->tensor == NULL ? LVLM_ONLY_B : LVLM_ONLY_A;
    } else if (side_numel(a) != side_numel(b)) {
        c.sameness = LVLM_OTHER_SHAPE;
        c.n_rows = same_rows(r, a, b);
    } else {
        c.renamed = strcmp(a->tensor->name, b->tensor->name) != 0;
        c.reshaped = !lvlm_shape_equal(&a->tensor->shape, &b->tensor->shape);
        const bool same = walk(r, a, b, side_numel(a), NULL);
        if (!same) (void)walk(r, a, b, side_numel(a), &c.distance);
        tell(r, a->tensor->n_bytes);
        const bool values = c.distance.n_differ == 0 && c.distance.n_bad == 0;
        c.sameness = same ? LVLM_SAME_BITS : values ? LVLM_SAME_VALUES : LVLM_DIFFERS;
    }
    finish(r, &c);
}

/* What a target's values are: its own tensor, or that of the one it is tied to. */
static side side_of(const lvlm_manifest *m, const lvlm_target *t)
{
    if (t->state == LVLM_TARGET_TIED) t = lvlm_manifest_find(m, t->row->tied_to);
    return (side){ t != NULL ? t->source : NULL,
                   t != NULL ? lvlm_manifest_transform(m, t) : &keep };
}

static void compare_targets(run *r, const lvlm_manifest *a, const lvlm_manifest *b)
{
    for (size_t i = 0; i < a->n_targets; i++) {
        const lvlm_target *x = &a->targets[i];
        const lvlm_target *y = lvlm_manifest_find(b, x->name);
        if (x->state == LVLM_TARGET_IDENTITY) continue;
        if (x->state == LVLM_TARGET_TIED && y != NULL && y->state == LVLM_TARGET_TIED)
            continue; /* both tied: the table itself is compared */
        const side sx = side_of(a, x);
        const side sy = y != NULL ? side_of(b, y) : (side){ NULL, &keep };
        const bool retied = y != NULL && (x->state == LVLM_TARGET_TIED) !=
                                             (y->state == LVLM_TARGET_TIED);
        compare_pair(r, x->name, &sx, &sy, retied);
    }
    for (size_t i = 0; i < b->n_targets; i++) {
        const lvlm_target *y = &b->targets[i];
        if (lvlm_manifest_find(a, y->name) != NULL) continue;
        const side none = { NULL, &keep }, sy = side_of(b, y);
        compare_pair(r, y->name, &none, &sy, false);
    }
}

static const lvlm_tensor *find_extra(const lvlm_manifest *m, const char *canonical)
{
    for (size_t i = 0; i < m->n_extras; i++)
        if (strcmp(m->extras[i].canonical, canonical) == 0) return m->extras[i].tensor;
    return NULL;
}

/* Tensors that no target uses: compared where both have them, reported where one
 * has. */
static void compare_extras(run *r, const lvlm_manifest *a, const lvlm_manifest *b)
{
    for (size_t i = 0; i < a->n_extras; i++) {
        const char *name = a->extras[i].canonical;
        const side x = { a->extras[i].tensor, &keep },
                   y = { find_extra(b, name), &keep };
        compare_pair(r, name, &x, &y, false);
    }
    for (size_t i = 0; i < b->n_extras; i++) {
        const char *name = b->extras[i].canonical;
        if (find_extra(a, name) != NULL) continue;
        const side none = { NULL, &keep }, y = { b->extras[i].tensor, &keep };
        compare_pair(r, name, &none, &y, false);
    }
}

static void compare_bare(run *r, const lvlm_checkpoint *a, const lvlm_checkpoint *b)
{
    for (size_t i = 0; i < a->n_tensors; i++) {
        const side x = { a->by_name[i], &keep };
        const side y = { lvlm_checkpoint_find(b, x.tensor->name), &keep };
        compare_pair(r, x.tensor->name, &x, &y, false);
    }
    for (size_t i = 0; i < b->n_tensors; i++) {
        const side none = { NULL, &keep }, y = { b->by_name[i], &keep };
        if (lvlm_checkpoint_find(a, y.tensor->name) == NULL)
            compare_pair(r, y.tensor->name, &none, &y, false);
    }
}

static int compare_models(run *r, const lvlm_checkpoint *a, const lvlm_checkpoint *b,
                          lvlm_error *err)
{
    lvlm_manifest ma = { 0 }, mb = { 0 };
    int rc;
    TRY(lvlm_manifest_build(&ma, a, err));
    if ((rc = lvlm_manifest_build(&mb, b, err)) == 0) {
        if (ma.family != mb.family) {
            rc = lvlm_fail(err, LVLM_EUSAGE, "%s is %s, %s is %s", a->path,
                           ma.family->title, b->path, mb.family->title);
        } else {
            compare_targets(r, &ma, &mb);
            compare_extras(r, &ma, &mb);
        }
        lvlm_manifest_free(&mb);
    }
    lvlm_manifest_free(&ma);
    return rc;
}

int lvlm_compare(lvlm_compare_result *out, const lvlm_checkpoint *a,
                 const lvlm_checkpoint *b, const lvlm_compare_options *options,
                 lvlm_error *err)
{
    const bool bare = a->kind == LVLM_CHECKPOINT_PLAIN;
    run r = { .options = options, .result = out };
    int rc = 0;

    *out = (lvlm_compare_result){ 0 };
    FAIL_IF(bare != (b->kind == LVLM_CHECKPOINT_PLAIN), err, LVLM_EUSAGE,
            "%s is a model, %s is a bare file of tensors", bare ? b->path : a->path,
            bare ? a->path : b->path);
    r.values = lvlm_malloc(2 * BLOCK * sizeof *r.values);
    r.bytes = lvlm_malloc(2 * BLOCK * sizeof(double));
    if (r.values == NULL || r.bytes == NULL)
        rc = lvlm_fail_memory(err);
    else if (bare)
        compare_bare(&r, a, b);
    else
        rc = compare_models(&r, a, b, err);
    lvlm_free(r.bytes);
    lvlm_free(r.values);
    return rc;
}
