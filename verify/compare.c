/* compare.c - pairs tensors by native name and compares each pair in blocks. */
#include "verify/compare.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/container/numeric.h"

enum { BLOCK = 1 << 15 };

/* One side of a pair: a tensor, and the layout of the compared values in it. */
typedef struct side {
    const lvlm_tensor *tensor; /* NULL: there is none */
    const lvlm_transform *transform;
    const lvlm_shape
        *expected; /* set if the tensor has another shape; its values are not
                                   read then */
} side;

typedef struct run {
    const lvlm_compare_options *options;
    lvlm_compare_result *result;
    unsigned char *bytes; /* 2 * BLOCK elements as stored */
    double *values;       /* 2 * BLOCK */
    uint64_t done, total;
} run;

static const lvlm_transform keep;

/* ---- values --------------------------------------------------------------------- */

static uint64_t side_numel(const side *s)
{
    assert(s->tensor != NULL && s->expected == NULL);
    return lvlm_transform_is_keep(s->transform) ? lvlm_tensor_numel(s->tensor)
                                                : lvlm_transform_numel(s->transform);
}

/* Elements [first, first + n) of a side, as stored. Its shape has been checked. */
static const unsigned char *fetch(const side *s, uint64_t first, size_t n,
                                  unsigned char *buffer)
{
    const size_t element = lvlm_dtype_bytes(s->tensor->dtype);
    assert(s->expected == NULL && n <= BLOCK);
    if (lvlm_transform_is_keep(s->transform)) return s->tensor->data + first * element;
    const bool ok = lvlm_transform_gather(buffer, first, n, s->transform,
                                          lvlm_tensor_elements(s->tensor));
    assert(ok);
    (void)ok;
    return buffer;
}

static bool is_signed(lvlm_dtype dtype)
{
    return dtype == LVLM_I8 || dtype == LVLM_I16 || dtype == LVLM_I32 ||
           dtype == LVLM_I64;
}

static bool is_integer(lvlm_dtype dtype)
{
    return is_signed(dtype) || dtype == LVLM_BOOL || dtype == LVLM_U8 ||
           dtype == LVLM_U16 || dtype == LVLM_U32 || dtype == LVLM_U64;
}

/* An integer, sign-extended to 64 bits. */
static uint64_t load_integer(const unsigned char *from, lvlm_dtype dtype)
{
    const size_t size = lvlm_dtype_bytes(dtype);
    uint64_t bits = 0;
    assert(is_integer(dtype) && size <= sizeof bits);
    memcpy(&bits, from, size);
    if (is_signed(dtype) && size < 8 && (bits >> (8 * size - 1) & 1) != 0)
        bits |= UINT64_MAX << (8 * size);
    return bits;
}

static double integer_value(uint64_t bits, lvlm_dtype dtype)
{
    return is_signed(dtype) ? (double)(int64_t)bits : (double)bits;
}

/* Eight-bit floating point: f16's upper half; or 4 bits of exponent around 7, without
 * infinities (OCP 8-bit floating point, 2023). */
static double f8_value(unsigned char byte, lvlm_dtype dtype)
{
    assert(dtype == LVLM_F8_E4M3 || dtype == LVLM_F8_E5M2);
    if (dtype == LVLM_F8_E5M2) return (double)lvlm_f32_of_f16((uint16_t)(byte << 8));
    const int exponent = byte >> 3 & 15, mantissa = byte & 7;
    const double value = exponent == 15 && mantissa == 7 ? NAN
                         : exponent == 0                 ? ldexp(mantissa, -9)
                                         : ldexp(8 + mantissa, exponent - 10);
    return byte >> 7 != 0 ? -value : value;
}

static void to_double(double *to, const unsigned char *from, lvlm_dtype dtype, size_t n)
{
    const size_t size = lvlm_dtype_bytes(dtype);
    if (lvlm_dtype_is_weight(dtype)) {
        lvlm_convert_values(to, LVLM_F64, from, dtype, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        to[i] = is_integer(dtype)
                    ? integer_value(load_integer(from + i * size, dtype), dtype)
                    : f8_value(from[i], dtype);
}

/* The number of pairs of different integers that are equal as doubles. */
static uint64_t count_hidden(const unsigned char *x, lvlm_dtype dx,
                             const unsigned char *y, lvlm_dtype dy, size_t n)
{
    uint64_t hidden = 0;
    if (!is_integer(dx) || !is_integer(dy)) return 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t a = load_integer(x + i * lvlm_dtype_bytes(dx), dx);
        const uint64_t b = load_integer(y + i * lvlm_dtype_bytes(dy), dy);
        /* equal bits of signed and unsigned types are far apart as doubles */
        hidden += a != b && integer_value(a, dx) == integer_value(b, dy);
    }
    return hidden;
}

static void tell(run *r, uint64_t n_bytes)
{
    r->done += n_bytes;
    if (r->options->progress != NULL)
        r->options->progress(r->options->progress_user, r->done, r->total);
}

/* Compare the first `numel` elements of a pair in blocks; true if all bytes are equal.
 * With `distance` the values are compared too, which only pairs that differ need. */
static bool compare_blocks(run *r, const side *a, const side *b, uint64_t numel,
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
        const uint64_t hidden = count_hidden(x, da, y, db, n);
        distance->n_differ += hidden;
        if (hidden > 0 && distance->max_abs == 0) distance->max_abs = 1; /* at least */
    }
    return same;
}

/* ---- pairs ---------------------------------------------------------------------- */

static void finish(run *r, const lvlm_comparison *c)
{
    r->result->n++;
    if (c->sameness == LVLM_SAME_BITS || c->sameness == LVLM_SAME_VALUES)
        r->result->n_same++;
    else if (c->sameness == LVLM_IN_NEITHER)
        r->result->n_missing++;
    else
        r->result->n_differ++;
    r->options->row(r->options->user, c);
}

/* Tables of word vectors may be padded after the last word: the number of first rows
 * that are equal, if one table ends there. */
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
    return compare_blocks(r, a, b, side_numel(shorter), NULL) ? rows : 0;
}

static void compare_pair(run *r, const char *name, const side *a, const side *b,
                         bool retied)
{
    lvlm_comparison c = {
        .name = name, .a = a->tensor, .b = b->tensor, .retied = retied
    };
    if (a->tensor == NULL || b->tensor == NULL) {
        c.sameness = a->tensor != NULL   ? LVLM_ONLY_A
                     : b->tensor != NULL ? LVLM_ONLY_B
                                         : LVLM_IN_NEITHER;
    } else if (a->expected != NULL || b->expected != NULL) {
        c.sameness = LVLM_WRONG_SHAPE;
        c.a_expected = a->expected;
        c.b_expected = b->expected;
    } else if (side_numel(a) != side_numel(b)) {
        c.sameness = LVLM_OTHER_SHAPE;
        c.n_rows = same_rows(r, a, b);
    } else {
        c.renamed = strcmp(a->tensor->name, b->tensor->name) != 0;
        c.reshaped = !lvlm_shape_equal(&a->tensor->shape, &b->tensor->shape);
        const bool same = compare_blocks(r, a, b, side_numel(a), NULL);
        if (!same) (void)compare_blocks(r, a, b, side_numel(a), &c.distance);
        tell(r, a->tensor->n_bytes);
        const bool values = c.distance.n_differ == 0 && c.distance.n_bad == 0;
        c.sameness = same ? LVLM_SAME_BITS : values ? LVLM_SAME_VALUES : LVLM_DIFFERS;
    }
    finish(r, &c);
}

static const side none = { NULL, &keep, NULL };

static side bare_side(const lvlm_tensor *tensor)
{
    return (side){ tensor, &keep, NULL };
}

/* The values of a target: its own tensor, or that of the target that it is tied to. */
static side side_of(const lvlm_manifest *m, const lvlm_target *t)
{
    if (t->state == LVLM_TARGET_TIED) t = lvlm_manifest_find(m, t->row->tied_to);
    if (t == NULL) return none;
    return (side){ t->here.tensor, &t->here.transform,
                   t->here.wrong_shape ? &t->here.shape : NULL };
}

/* Is there nothing to compare? Both are the identity, or both tied: the table is
 * compared. */
static bool says_nothing(const lvlm_target *x, const lvlm_target *y)
{
    return y != NULL && x->state == y->state &&
           (x->state == LVLM_TARGET_IDENTITY || x->state == LVLM_TARGET_TIED);
}

static void compare_targets(run *r, const lvlm_manifest *a, const lvlm_manifest *b)
{
    for (size_t i = 0; i < a->n_targets; i++) {
        const lvlm_target *x = &a->targets[i];
        const lvlm_target *y = lvlm_manifest_find(b, x->name);
        if (says_nothing(x, y)) continue;
        const side sx = side_of(a, x), sy = y != NULL ? side_of(b, y) : none;
        const bool retied = y != NULL && (x->state == LVLM_TARGET_TIED) !=
                                             (y->state == LVLM_TARGET_TIED);
        compare_pair(r, x->name, &sx, &sy, retied);
    }
    for (size_t i = 0; i < b->n_targets; i++) {
        const lvlm_target *y = &b->targets[i];
        const side sy = side_of(b, y);
        if (lvlm_manifest_find(a, y->name) == NULL)
            compare_pair(r, y->name, &none, &sy, false);
    }
}

/* Tensors that no target uses: compared if both have them, else reported. */
static void compare_extras(run *r, const lvlm_manifest *a, const lvlm_manifest *b)
{
    for (size_t i = 0; i < a->n_extras; i++) {
        const char *name = a->extras[i].canonical;
        const side x = bare_side(a->extras[i].tensor);
        const side y = bare_side(lvlm_manifest_find_extra(b, name));
        compare_pair(r, name, &x, &y, false);
    }
    for (size_t i = 0; i < b->n_extras; i++) {
        const char *name = b->extras[i].canonical;
        if (lvlm_manifest_find_extra(a, name) != NULL) continue;
        const side y = bare_side(b->extras[i].tensor);
        compare_pair(r, name, &none, &y, false);
    }
}

static void compare_bare(run *r, const lvlm_checkpoint *a, const lvlm_checkpoint *b)
{
    for (size_t i = 0; i < a->n_tensors; i++) {
        const side x = bare_side(a->by_name[i]);
        const side y = bare_side(lvlm_checkpoint_find(b, x.tensor->name));
        compare_pair(r, x.tensor->name, &x, &y, false);
    }
    for (size_t i = 0; i < b->n_tensors; i++) {
        const side y = bare_side(b->by_name[i]);
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
            rc = lvlm_fail(err, LVLM_ECHECK, "%s is %s, %s is %s", a->path,
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
    assert(options->row != NULL);

    *out = (lvlm_compare_result){ 0 };
    FAIL_IF(bare != (b->kind == LVLM_CHECKPOINT_PLAIN), err, LVLM_EFORMAT,
            "%s is a model, %s is a bare file of tensors", bare ? b->path : a->path,
            bare ? a->path : b->path);
    for (size_t i = 0; i < a->n_tensors; i++) r.total += a->tensors[i].n_bytes;
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
