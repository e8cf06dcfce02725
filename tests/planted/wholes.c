/* wholes.c - mistakes in which tensors there are, and in whole blocks; see kinds.h. */
#include <stdio.h>

#include "formats/base/text.h"
#include "formats/container/numeric.h"
#include "tests/convert/converted.h"
#include "tests/planted/kinds.h"

enum { NAME = 256 };

/* ---- other tensors --------------------------------------------------------------- */

/* How much of a name is the same for all of a block, "text.blocks.12", or of a part
 * without blocks. */
static size_t prefix_of(const char *name)
{
    const char *const at = strstr(name, "blocks.");
    const char *const from = at != NULL ? at + strlen("blocks.") : name;
    return (size_t)(from - name) + strcspn(from, ".");
}

static const lvlm_target *stored(const plant *p, const char *name)
{
    const lvlm_target *const t = lvlm_manifest_find(&p->manifest, name);
    return t != NULL && t->here.tensor != NULL && t->state == LVLM_TARGET_FOUND ? t
                                                                                : NULL;
}

/* The nearest block before that has such a tensor. */
static const lvlm_target *of_block_before(const plant *p, const lvlm_target *t)
{
    const lvlm_target *found = NULL;
    for (uint64_t block = 0; block < t->block; block++) {
        const lvlm_target *const o = plant_of_block(p, t, block);
        if (o != NULL && lvlm_shape_equal(&o->shape, &t->shape)) found = o;
    }
    return found;
}

const lvlm_target *kind_other(const plant *p, const lvlm_target *t, const char *other)
{
    char name[NAME];
    if (strcmp(other, "-") == 0) return of_block_before(p, t);
    if (other[0] != '.') return stored(p, other);
    (void)snprintf(name, sizeof name, "%.*s%s", (int)prefix_of(t->name), t->name,
                   other);
    return stored(p, name);
}

/* Its bias, or NULL. */
static const lvlm_target *bias_of(const plant *p, const lvlm_target *t)
{
    char name[NAME];
    if (!lvlm_ends_with(t->name, ".weight")) return NULL;
    (void)snprintf(name, sizeof name, "%.*s.bias",
                   (int)(strlen(t->name) - strlen(".weight")), t->name);
    return stored(p, name);
}

/* ---- tensors --------------------------------------------------------------------- */

/* Everything but the name. */
static void take_contents(lvlm_tensor *to, const lvlm_tensor *from)
{
    const char *const name = to->name;
    *to = *from;
    to->name = name;
}

/* What is stored under two names, each under the other's. */
static void exchange(plant *p, const lvlm_target *a, const lvlm_target *b)
{
    lvlm_tensor *const x = plant_tensor(p, a), *const y = plant_tensor(p, b);
    if (x == y) { /* parts of one tensor */
        plant_values v = plant_read(p, a), w = plant_read(p, b);
        change_exchange(&v, &w, 0);
        plant_write(&v);
        plant_write(&w);
        return;
    }
    const lvlm_tensor was = *x;
    take_contents(x, y);
    take_contents(y, &was);
}

void whole_exchange(plant *p, const lvlm_target *t, const lvlm_target *other, double by)
{
    const lvlm_target *const a = bias_of(p, t), *const b = bias_of(p, other);
    (void)by;
    exchange(p, t, other);
    if (a != NULL && b != NULL) exchange(p, a, b);
}

/* A matrix that is not square, as its transpose. */
void whole_transpose(plant *p, const lvlm_target *t, const lvlm_target *other,
                     double by)
{
    lvlm_tensor *const x = plant_tensor(p, t);
    plant_values v = plant_read(p, t);
    (void)other;
    (void)by;
    if (x->shape.n != 2 || v.rows == v.columns) return;
    const plant_values was = plant_read(p, t);
    for (size_t r = 0; r < v.rows; r++)
        for (size_t c = 0; c < v.columns; c++)
            v.x[c * v.rows + r] = was.x[r * v.columns + c];
    plant_write(&v);
    const uint64_t rows = x->shape.dims[0];
    x->shape.dims[0] = x->shape.dims[1];
    x->shape.dims[1] = rows;
}

void whole_missing(plant *p, const lvlm_target *t, const lvlm_target *other, double by)
{
    (void)other;
    (void)by;
    plant_tensor(p, t)->name = NULL;
}

/* One more, of a name that no model has. */
void whole_unknown(plant *p, const lvlm_target *t, const lvlm_target *other, double by)
{
    lvlm_tensor *const more = &p->tensors[p->n++];
    (void)other;
    (void)by;
    *more = *plant_tensor(p, t);
    more->name = lvlm_arena_printf(&p->arena, "%s_scale", more->name);
    assert_non_null(more->name);
}

void whole_row_lost(plant *p, const lvlm_target *t, const lvlm_target *other, double by)
{
    lvlm_tensor *const x = plant_tensor(p, t);
    (void)other;
    (void)by;
    x->n_bytes -= x->n_bytes / x->shape.dims[0];
    x->shape.dims[0]--;
}

/* Every weight stored in bfloat16. */
void whole_all_bf16(plant *p, const lvlm_target *t, const lvlm_target *other, double by)
{
    (void)t;
    (void)other;
    (void)by;
    for (size_t i = 0; i < p->n; i++) {
        lvlm_tensor *const x = &p->tensors[i];
        const size_t n = (size_t)lvlm_tensor_numel(x);
        if (x->dtype != LVLM_F32) continue;
        void *const bytes = lvlm_arena_alloc(&p->arena, n + 1, sizeof(uint16_t));
        assert_non_null(bytes);
        lvlm_convert_values(bytes, LVLM_BF16, x->data, x->dtype, n);
        x->data = bytes;
        x->dtype = LVLM_BF16;
        x->n_bytes = n * sizeof(uint16_t);
    }
}

/* ---- one tensor for queries, keys and values ------------------------------------- */

/* Rows of (a, b, D) as those of (b, a, D). */
static void regroup(plant *p, const lvlm_target *t, size_t a, size_t b)
{
    lvlm_tensor *const x = plant_tensor(p, t);
    const size_t bytes = (size_t)x->n_bytes / (a * b);
    unsigned char *const from = lvlm_arena_alloc(&p->arena, (size_t)x->n_bytes, 1);
    assert_non_null(from);
    assert_int_equal(bytes * a * b, x->n_bytes);
    memcpy(from, x->data, (size_t)x->n_bytes);
    unsigned char *const to = (unsigned char *)(uintptr_t)x->data;
    for (size_t i = 0; i < a; i++)
        for (size_t k = 0; k < b; k++)
            memcpy(to + (k * a + i) * bytes, from + (i * b + k) * bytes, bytes);
}

static bool is_third(const lvlm_target *t)
{
    return t->here.transform.select > 0 &&
           t->here.transform.axes[t->here.transform.select - 1] == 3;
}

static size_t heads_of(const plant *p, const lvlm_target *t)
{
    char path[NAME];
    (void)snprintf(path, sizeof path, "%.*s.heads", (int)strcspn(t->name, "."),
                   t->name);
    return plant_count(p, path);
}

void whole_thirds_by_head(plant *p, const lvlm_target *t, const lvlm_target *other,
                          double by)
{
    const lvlm_target *const bias = bias_of(p, t);
    (void)other;
    (void)by;
    if (!is_third(t)) return;
    regroup(p, t, 3, heads_of(p, t));
    if (bias != NULL) regroup(p, bias, 3, heads_of(p, t));
}

/* Keys, values, queries. */
void whole_thirds_rotated(plant *p, const lvlm_target *t, const lvlm_target *other,
                          double by)
{
    (void)by;
    if (!is_third(t) || other == NULL) return;
    const lvlm_target *const v = kind_other(p, t, ".attn.v.weight");
    whole_exchange(p, t, other, 0);
    whole_exchange(p, other, v, 0);
}

/* ---- blocks ---------------------------------------------------------------------- */

static bool is_of_block(const lvlm_target *t, const lvlm_target *of)
{
    const size_t n = prefix_of(of->name);
    return t->here.tensor != NULL && strncmp(t->name, of->name, n) == 0 &&
           t->name[n] == '.';
}

/* Give every tensor of the block of `t` the contents of its namesake in block `from`,
 * and with `both` the other way round. */
static void take_block(plant *p, const lvlm_target *t, uint64_t from, bool both)
{
    for (size_t i = 0; i < p->manifest.n_targets; i++) {
        const lvlm_target *const to = &p->manifest.targets[i];
        if (!is_of_block(to, t)) continue;
        const lvlm_target *const o = plant_of_block(p, to, from);
        if (o == NULL || plant_tensor(p, o)->name == NULL) continue;
        lvlm_tensor *const x = plant_tensor(p, to), *const y = plant_tensor(p, o);
        const lvlm_tensor was = *x;
        if (to->here.transform.index > 0) continue; /* once, of a tensor of several */
        take_contents(x, y);
        if (both) take_contents(y, &was);
    }
}

void whole_blocks_exchanged(plant *p, const lvlm_target *t, const lvlm_target *other,
                            double by)
{
    (void)by;
    take_block(p, t, other->block, true);
}

void whole_block_copied(plant *p, const lvlm_target *t, const lvlm_target *other,
                        double by)
{
    (void)by;
    take_block(p, t, other->block, false);
}

/* One fewer in config.json, of those that there are. */
static void count_fewer(plant *p, const lvlm_target *t)
{
    char change[NAME];
    (void)snprintf(change, sizeof change, "%s+-1", t->section->count);
    assert_true(plant_set(p, change));
    for (size_t i = 0; i < p->manifest.n_targets; i++) {
        const lvlm_target *const of = &p->manifest.targets[i];
        if (is_of_block(of, t)) plant_tensor(p, of)->name = NULL;
    }
}

/* Of `t`, which is in the last block: every block is the one after it. */
void whole_first_block_lost(plant *p, const lvlm_target *t, const lvlm_target *other,
                            double by)
{
    (void)other;
    (void)by;
    for (uint64_t block = 0; block < t->block; block++)
        if (plant_of_block(p, t, block) == NULL) return;
    for (uint64_t block = 0; block < t->block; block++)
        take_block(p, plant_of_block(p, t, block), block + 1, false);
    if (t->block > 0) count_fewer(p, t);
}

void whole_last_block_lost(plant *p, const lvlm_target *t, const lvlm_target *other,
                           double by)
{
    (void)other;
    (void)by;
    if (t->block > 0) count_fewer(p, t);
}

/* ---- what changes nothing -------------------------------------------------------- */

/* The same other order of heads everywhere: of `t`, queries, and all others. */
void whole_heads_consistent(plant *p, const lvlm_target *t, const lvlm_target *other,
                            double by)
{
    static const char *const all[] = { ".attn.q.weight", ".attn.k.weight",
                                       ".attn.v.weight", ".attn.out.weight" };
    (void)other;
    (void)by;
    if (!lvlm_shape_equal(&t->shape, &kind_other(p, t, all[1])->shape)) return;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const lvlm_target *const x = kind_other(p, t, all[i]), *const b = bias_of(p, x);
        plant_values v = plant_read(p, x);
        change_heads_reversed(&v, NULL, 0);
        plant_write(&v);
        if (b == NULL || i == 3) continue;
        plant_values bias = plant_read(p, b);
        change_heads_reversed(&bias, NULL, 0);
        plant_write(&bias);
    }
}
