/* compare.c - pairs tensors by native name and compares each pair in blocks.
 *
 *   all bytes of both -> sums; if any differ, once more -> what kind of change it is
 *   contents that are under another name in the other one -> moves */
#include "verify/compare/compare.h"

#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/arena.h"

enum { BLOCK = LVLM_VALUES_BLOCK };

/* The contents of one side of a pair that differs. */
typedef struct content {
    const char *name;
    bool in_a;
    uint64_t signature; /* alteration.h */
} content;

typedef struct run {
    const lvlm_compare_options *options;
    lvlm_compare_result *result;
    unsigned char *bytes; /* 2 * BLOCK elements as stored */
    double *values;       /* 2 * BLOCK */
    content *contents;    /* in the result's arena */
    size_t n_contents, room;
    uint64_t done, total;
    bool failed; /* out of memory */
} run;

/* ---- values --------------------------------------------------------------------- */

static void tell(run *r, uint64_t n_bytes)
{
    r->done += n_bytes;
    if (r->options->progress != NULL)
        r->options->progress(r->options->progress_user, r->done, r->total);
}

/* Integers are compared as such: where doubles cannot tell two apart, too. */
static void add_integers(lvlm_distance *d, const unsigned char *x, lvlm_dtype dx,
                         const unsigned char *y, lvlm_dtype dy, const double *values,
                         size_t n)
{
    if (!lvlm_dtype_is_integer(dx) || !lvlm_dtype_is_integer(dy)) return;
    for (size_t i = 0; i < n; i++) {
        const uint64_t a = lvlm_load_integer(x + i * lvlm_dtype_bytes(dx), dx);
        const uint64_t b = lvlm_load_integer(y + i * lvlm_dtype_bytes(dy), dy);
        /* equal bits of signed and unsigned types are far apart as doubles */
        if (a == b || values[i] != values[BLOCK + i]) continue;
        const double apart = lvlm_integer_distance(a, dx, b, dy);
        d->n_differ++;
        d->difference2 += apart * apart;
        if (apart > d->max_abs) d->max_abs = apart;
    }
}

/* One block of a pair: both sides as stored, and as doubles in r->values. */
static void fetch(run *r, const lvlm_values *a, const lvlm_values *b, uint64_t at,
                  size_t n, const unsigned char **x, const unsigned char **y)
{
    *x = lvlm_values_fetch(a, at, n, r->bytes);
    *y = lvlm_values_fetch(b, at, n, r->bytes + BLOCK * sizeof(double));
    lvlm_values_widen(r->values, *x, a->tensor->dtype, n);
    lvlm_values_widen(r->values + BLOCK, *y, b->tensor->dtype, n);
}

/* Compare the first `numel` elements of a pair; true if all bytes are equal. */
static bool compare_blocks(run *r, const lvlm_values *a, const lvlm_values *b,
                           uint64_t numel, lvlm_distance *distance)
{
    const lvlm_dtype da = a->tensor->dtype, db = b->tensor->dtype;
    bool same = da == db;
    for (uint64_t at = 0; at < numel; at += BLOCK) {
        const size_t n = numel - at < BLOCK ? (size_t)(numel - at) : BLOCK;
        const unsigned char *x, *y;
        fetch(r, a, b, at, n, &x, &y);
        same = same && memcmp(x, y, n * lvlm_dtype_bytes(da)) == 0;
        lvlm_distance_add(distance, r->values, r->values + BLOCK, n);
        add_integers(distance, x, da, y, db, r->values, n);
    }
    return same;
}

/* ---- changes -------------------------------------------------------------------- */

static void note_content(run *r, const char *name, bool in_a, uint64_t signature)
{
    content *const list = lvlm_arena_room(&r->result->arena, r->contents, r->n_contents,
                                          &r->room, sizeof *list);
    if (list == NULL) {
        r->failed = true;
        return;
    }
    char *const copy = lvlm_arena_strndup(&r->result->arena, name, strlen(name));
    r->contents = list;
    list[r->n_contents++] = (content){ copy, in_a, signature };
    if (copy == NULL) r->failed = true;
}

/* A second pass over a pair that differs. `a` or `b` may be there alone: then only its
 * contents are noted. */
static lvlm_alteration find_change(run *r, const char *name, const lvlm_values *a,
                                   const lvlm_values *b, const lvlm_distance *distance)
{
    const lvlm_values *const x = a->tensor != NULL ? a : b;
    const lvlm_values *const y = b->tensor != NULL ? b : a;
    const uint64_t numel = lvlm_values_count(x);
    lvlm_altering *const c = lvlm_altering_begin(x, y, distance);
    lvlm_alteration change = { .kind = LVLM_ALTERED_OTHER };
    uint64_t in_a, in_b;
    if (c == NULL) {
        r->failed = true;
        return change;
    }
    for (uint64_t at = 0; at < numel; at += BLOCK) {
        const size_t n = numel - at < BLOCK ? (size_t)(numel - at) : BLOCK;
        const unsigned char *p, *q;
        fetch(r, x, y, at, n, &p, &q);
        lvlm_altering_add(c, r->values, r->values + BLOCK, at, n);
    }
    lvlm_altering_signatures(&in_a, &in_b, c);
    if (a->tensor != NULL) note_content(r, name, true, in_a);
    if (b->tensor != NULL) note_content(r, name, false, in_b);
    if (a->tensor != NULL && b->tensor != NULL) change = lvlm_altering_end(c, distance);
    lvlm_altering_free(c);
    return change;
}

/* Contents of one that the other has under another name. */
static void find_moves(run *r)
{
    lvlm_compare_result *const out = r->result;
    size_t room = 0;
    for (size_t i = 0; i < r->n_contents && !r->failed; i++) {
        const content *const a = &r->contents[i];
        const content *b = NULL;
        for (size_t k = 0; a->in_a && k < r->n_contents; k++)
            if (!r->contents[k].in_a && r->contents[k].signature == a->signature)
                b = &r->contents[k];
        if (b == NULL || strcmp(a->name, b->name) == 0) continue;
        lvlm_move *const list =
            lvlm_arena_room(&out->arena, out->moves, out->n_moves, &room, sizeof *list);
        if (list == NULL) r->failed = true;
        if (list == NULL) return;
        out->moves = list;
        list[out->n_moves++] = (lvlm_move){ a->name, b->name };
    }
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
static uint64_t same_rows(run *r, const lvlm_values *a, const lvlm_values *b)
{
    const lvlm_shape *x = &a->tensor->shape, *y = &b->tensor->shape;
    lvlm_shape both = *x;
    if (x->n < 2 || x->n != y->n || !lvlm_transform_is_keep(a->transform) ||
        !lvlm_transform_is_keep(b->transform))
        return 0;
    both.dims[0] = y->dims[0];
    if (!lvlm_shape_equal(&both, y)) return 0;
    const uint64_t rows = x->dims[0] < y->dims[0] ? x->dims[0] : y->dims[0];
    const lvlm_values *shorter = x->dims[0] < y->dims[0] ? a : b;
    lvlm_distance distance = { 0 };
    return compare_blocks(r, a, b, lvlm_values_count(shorter), &distance) ? rows : 0;
}

static const lvlm_values none;

static void compare_pair(run *r, const char *name, const lvlm_values *a,
                         const lvlm_values *b, bool retied)
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
    } else if (lvlm_values_count(a) != lvlm_values_count(b)) {
        c.sameness = LVLM_OTHER_SHAPE;
        c.n_rows = same_rows(r, a, b);
    } else {
        c.renamed = strcmp(a->tensor->name, b->tensor->name) != 0;
        c.reshaped = !lvlm_shape_equal(&a->tensor->shape, &b->tensor->shape);
        const bool same = compare_blocks(r, a, b, lvlm_values_count(a), &c.distance);
        const bool values = c.distance.n_differ == 0 && c.distance.n_bad == 0;
        c.sameness = same ? LVLM_SAME_BITS : values ? LVLM_SAME_VALUES : LVLM_DIFFERS;
    }
    if (c.sameness == LVLM_DIFFERS)
        c.change = find_change(r, name, a, b, &c.distance);
    else if ((c.sameness == LVLM_ONLY_A && a->expected == NULL) ||
             (c.sameness == LVLM_ONLY_B && b->expected == NULL))
        (void)find_change(r, name, a, b, &c.distance);
    if (a->tensor != NULL) tell(r, a->tensor->n_bytes);
    finish(r, &c);
}

static void compare_targets(run *r, const lvlm_manifest *a, const lvlm_manifest *b)
{
    for (size_t i = 0; i < a->n_targets; i++) {
        const lvlm_target *x = &a->targets[i];
        const lvlm_target *y = lvlm_manifest_find(b, x->name);
        if (lvlm_values_are_none(x, y)) continue;
        const lvlm_values sx = lvlm_values_of(a, x);
        const lvlm_values sy = y != NULL ? lvlm_values_of(b, y) : none;
        const bool retied = y != NULL && (x->state == LVLM_TARGET_TIED) !=
                                             (y->state == LVLM_TARGET_TIED);
        compare_pair(r, x->name, &sx, &sy, retied);
    }
    for (size_t i = 0; i < b->n_targets; i++) {
        const lvlm_target *y = &b->targets[i];
        const lvlm_values sy = lvlm_values_of(b, y);
        if (lvlm_manifest_find(a, y->name) == NULL)
            compare_pair(r, y->name, &none, &sy, false);
    }
}

/* Tensors that no target uses: compared if both have them, else reported. */
static void compare_extras(run *r, const lvlm_manifest *a, const lvlm_manifest *b)
{
    for (size_t i = 0; i < a->n_extras; i++) {
        const char *name = a->extras[i].canonical;
        const lvlm_values x = lvlm_values_stored(a->extras[i].tensor);
        const lvlm_values y = lvlm_values_stored(lvlm_manifest_find_extra(b, name));
        compare_pair(r, name, &x, &y, false);
    }
    for (size_t i = 0; i < b->n_extras; i++) {
        const char *name = b->extras[i].canonical;
        if (lvlm_manifest_find_extra(a, name) != NULL) continue;
        const lvlm_values y = lvlm_values_stored(b->extras[i].tensor);
        compare_pair(r, name, &none, &y, false);
    }
}

static void compare_bare(run *r, const lvlm_checkpoint *a, const lvlm_checkpoint *b)
{
    for (size_t i = 0; i < a->n_tensors; i++) {
        const lvlm_values x = lvlm_values_stored(a->by_name[i]);
        const lvlm_values y =
            lvlm_values_stored(lvlm_checkpoint_find(b, x.tensor->name));
        compare_pair(r, x.tensor->name, &x, &y, false);
    }
    for (size_t i = 0; i < b->n_tensors; i++) {
        const lvlm_values y = lvlm_values_stored(b->by_name[i]);
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
    if (rc == 0) find_moves(&r);
    if (rc == 0 && r.failed) rc = lvlm_fail_memory(err);
    lvlm_free(r.bytes);
    lvlm_free(r.values);
    if (rc < 0) lvlm_compare_free(out);
    return rc;
}

void lvlm_compare_free(lvlm_compare_result *result)
{
    lvlm_arena_free(&result->arena);
    result->moves = NULL;
    result->n_moves = 0;
}
