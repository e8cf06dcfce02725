/* exchanges.c - tensors in the place of others, and the behaviour of other versions;
 * see trial.h. */
#include <stdlib.h>
#include <string.h>

#include "formats/base/text.h"
#include "formats/container/numeric.h"
#include "verify/cause/trial.h"

/* Is it one that decides which rows attend to which: queries, keys, their norms? */
static bool is_of_relations(const lvlm_target *t)
{
    return lvlm_matches_listed("*attn.[qk].*|*cross.[qk].*|*[qk]_norm.*", t->name);
}

/* ---- two of a block exchanged ---------------------------------------------------- */

/* Tensor `to` gets the values of `from`, which may have another shape. */
static int put(cause_session *s, const lvlm_target *to, const lvlm_target *from,
               lvlm_error *err)
{
    if (lvlm_shape_equal(&to->shape, &from->shape)) {
        variant_use(&s->changed, to, from);
        return 0;
    }
    double *const x = variant_values(&s->changed, to);
    const lvlm_tensor *const t = from->here.tensor;
    if (x == NULL) return lvlm_fail_memory(err);
    lvlm_convert_values(x, LVLM_F64, t->data, t->dtype, (size_t)lvlm_tensor_numel(t));
    return 0;
}

static int exchange(cause_session *s, const lvlm_target *a, const lvlm_target *b,
                    lvlm_error *err)
{
    TRY(put(s, a, b, err));
    return put(s, b, a, err);
}

/* As many values, in a place of the same kind? */
static bool are_alike(const lvlm_target *a, const lvlm_target *b)
{
    return lvlm_tensor_numel(a->here.tensor) == lvlm_tensor_numel(b->here.tensor) &&
           a->shape.n == b->shape.n &&
           lvlm_ends_with(a->name, ".bias") == lvlm_ends_with(b->name, ".bias");
}

static int try_pair(cause_session *s, const lvlm_target *a, const lvlm_target *b,
                    bool with_bias, lvlm_error *err)
{
    const lvlm_target *const x = cause_bias(s, a), *const y = cause_bias(s, b);
    if (with_bias && (x == NULL || y == NULL || !are_alike(x, y))) return 0;
    TRY(exchange(s, a, b, err));
    if (with_bias) TRY(exchange(s, x, y, err));
    const char *const names = cause_names(s, (const lvlm_target *[]){ a, b }, 2);
    if (names == NULL) return lvlm_fail_memory(err);
    return cause_try(
        s, "exchanged",
        lvlm_arena_printf(&s->arena, "%s%s exchanged", names,
                          with_bias ? " and their biases" : ""),
        lvlm_arena_printf(&s->arena, "%s: each holds the other's values", names), err);
}

static int try_exchanges(cause_session *s, bool relations, lvlm_error *err)
{
    for (size_t i = 0; i < s->n_feeds; i++)
        for (size_t k = i + 1; k < s->n_feeds; k++) {
            const lvlm_target *const a = s->feeds[i], *const b = s->feeds[k];
            if ((is_of_relations(a) && is_of_relations(b)) != relations ||
                !are_alike(a, b))
                continue;
            TRY(try_pair(s, a, b, false, err));
            TRY(try_pair(s, a, b, true, err));
        }
    return 0;
}

/* With tensors of other stages, of those that are not in blocks: norms before and after
 * a tower, tables, maps of a connector. */
static int try_other_stages(cause_session *s, lvlm_error *err)
{
    for (size_t i = 0; i < s->n_feeds; i++)
        for (size_t k = 0; k < s->manifest->n_targets; k++) {
            const lvlm_target *const a = s->feeds[i];
            const lvlm_target *const b = &s->manifest->targets[k];
            const size_t part = strcspn(a->name, ".");
            if (b->state != LVLM_TARGET_FOUND || b->here.tensor == NULL ||
                cause_has(s->feeds, s->n_feeds, b) ||
                strstr(a->name, "blocks.") != NULL ||
                strstr(b->name, "blocks.") != NULL ||
                strncmp(a->name, b->name, part + 1) != 0 || !are_alike(a, b))
                continue;
            TRY(try_pair(s, a, b, false, err));
            TRY(try_pair(s, a, b, true, err));
        }
    return 0;
}

/* ---- those of another block ------------------------------------------------------ */

/* The same tensor of block `block`, or NULL. */
static const lvlm_target *of_block(const cause_session *s, const lvlm_target *t,
                                   uint64_t block)
{
    const lvlm_target *const o = lvlm_manifest_find_in_block(s->manifest, t, block);
    const bool fits =
        o != NULL && o->here.tensor != NULL && lvlm_shape_equal(&o->shape, &t->shape);
    return fits ? o : NULL;
}

static int try_block(cause_session *s, uint64_t block, bool relations, lvlm_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_feeds; i++) {
        const lvlm_target *const t = s->feeds[i], *const o = of_block(s, t, block);
        if (o == NULL || o == t) continue;
        n++;
        if (is_of_relations(t) != relations) continue;
        variant_use(&s->changed, t, o);
        TRY(cause_try(s, "other_block",
                      lvlm_arena_printf(&s->arena, "the values of %s in place of %s",
                                        cause_name(o), cause_name(t)),
                      lvlm_arena_printf(&s->arena, "%s: holds those of another block",
                                        cause_name(t)),
                      err));
    }
    if (n < 2 || relations) return 0;
    for (size_t i = 0; i < s->n_feeds; i++) {
        const lvlm_target *const o = of_block(s, s->feeds[i], block);
        if (o != NULL) variant_use(&s->changed, s->feeds[i], o);
    }
    return cause_try(s, "other_block",
                     lvlm_arena_printf(&s->arena, "all weights of block %llu",
                                       (unsigned long long)block),
                     "blocks are in another order, or one is left out", err);
}

static int try_blocks(cause_session *s, bool relations, lvlm_error *err)
{
    enum { FAR = 8 }; /* of that many blocks all are tried, else those next to it */
    const char *const at = strstr(s->span[s->n_span - 1], "blocks.");
    if (at == NULL) return 0;
    const uint64_t here = strtoull(at + strlen("blocks."), NULL, 10);
    for (uint64_t block = here > FAR ? here - FAR : 0; block <= here + FAR; block++)
        if (block != here) TRY(try_block(s, block, relations, err));
    return 0;
}

/* ---- thirds of one tensor -------------------------------------------------------- */

/* Values of a tensor, to be changed, and a copy of them. */
static int take_values(cause_session *s, const lvlm_target *t, double **to,
                       double **from, lvlm_error *err)
{
    const size_t n = (size_t)lvlm_tensor_numel(t->here.tensor);
    *from = lvlm_arena_alloc(&s->arena, n, sizeof **from);
    *to = variant_values(&s->changed, t);
    if (*from == NULL || *to == NULL) return lvlm_fail_memory(err);
    memcpy(*from, *to, n * sizeof **from);
    return 0;
}

/* Rows of queries, keys and values, stored head by head in one tensor: to those of all
 * heads, third by third. The opposite with `back`. */
static int regroup(cause_session *s, const lvlm_target *const thirds[3], bool back,
                   lvlm_error *err)
{
    double *to[3], *from[3];
    const size_t D = cause_head_dim(s, thirds[0]);
    const size_t rows = (size_t)thirds[0]->shape.dims[0], heads = rows / D;
    const size_t inner = (size_t)lvlm_tensor_numel(thirds[0]->here.tensor) / rows;
    for (size_t i = 0; i < 3; i++)
        TRY(take_values(s, thirds[i], &to[i], &from[i], err));
    for (size_t third = 0; third < 3; third++)
        for (size_t h = 0; h < heads; h++) {
            const size_t a = third * heads + h, b = h * 3 + third;
            const size_t new = back ? b : a, old = back ? a : b;
            memcpy(to[new / heads] + new % heads *D *inner,
                   from[old / heads] + old % heads * D * inner,
                   D * inner * sizeof(double));
        }
    return 0;
}

/* Rows of queries, keys and values, head by head in the source, as if there were
 * `heads` of them. */
static int split_again(cause_session *s, const lvlm_target *const thirds[3],
                       size_t heads, lvlm_error *err)
{
    double *to[3], *from[3];
    const size_t rows = (size_t)thirds[0]->shape.dims[0];
    const size_t was = cause_head_dim(s, thirds[0]), D = rows / heads;
    const size_t inner = (size_t)lvlm_tensor_numel(thirds[0]->here.tensor) / rows;
    for (size_t i = 0; i < 3; i++)
        TRY(take_values(s, thirds[i], &to[i], &from[i], err));
    for (size_t third = 0; third < 3; third++)
        for (size_t r = 0; r < rows; r++) {
            const size_t source = (r / D * 3 + third) * D + r % D;
            const size_t row = source / (3 * was) * was + source % was;
            memcpy(to[third] + r * inner, from[source / was % 3] + row * inner,
                   inner * sizeof(double));
        }
    return 0;
}

/* Queries, keys and values of a block, or their biases. */
typedef struct thirds {
    const lvlm_target *weight[3], *bias[3];
    size_t n_weights, n_biases;
} thirds;

/* Of which feed `i` has the queries. False: they are not of one shape. */
static bool find_thirds(thirds *t, const cause_session *s, size_t i)
{
    const lvlm_target *const q = s->feeds[i];
    *t = (thirds){ .n_weights = 0 };
    if (!lvlm_matches_listed("*attn.q.weight", q->name)) return false;
    for (size_t k = i; k < s->n_feeds; k++) {
        const lvlm_target *const x = s->feeds[k];
        if (lvlm_matches_listed("*attn.[qkv].bias", x->name) && t->n_biases < 3)
            t->bias[t->n_biases++] = x;
        if (lvlm_matches_listed("*attn.[qkv].weight", x->name) && t->n_weights < 3)
            t->weight[t->n_weights++] = x;
    }
    const size_t D = cause_head_dim(s, q);
    return t->n_weights == 3 && D > 0 && q->shape.dims[0] % D == 0 &&
           lvlm_shape_equal(&q->shape, &t->weight[1]->shape) &&
           lvlm_shape_equal(&q->shape, &t->weight[2]->shape);
}

/* Is that tensor of the source one of heads, each with queries, keys and values? */
static bool is_by_heads(const thirds *t)
{
    return t->weight[0]->hf.transform.select == 2 &&
           t->weight[0]->hf.transform.axes[1] == 3;
}

int cause_split_heads(cause_session *s, size_t heads, lvlm_error *err)
{
    thirds t;
    for (size_t i = 0; i < s->n_feeds; i++) {
        if (!find_thirds(&t, s, i) || !is_by_heads(&t) ||
            t.weight[0]->shape.dims[0] % heads != 0)
            continue;
        TRY(split_again(s, t.weight, heads, err));
        if (t.n_biases == 3) TRY(split_again(s, t.bias, heads, err));
    }
    return 0;
}

/* All three in another order. */
static int try_rotated(cause_session *s, const thirds *t, size_t by, lvlm_error *err)
{
    const char *const names = cause_names(s, t->weight, 3);
    for (size_t i = 0; i < 3; i++) {
        variant_use(&s->changed, t->weight[i], t->weight[(i + by) % 3]);
        if (t->n_biases == 3)
            variant_use(&s->changed, t->bias[i], t->bias[(i + by) % 3]);
    }
    static const char *const orders[] = { "", "values, queries, keys",
                                          "keys, values, queries" };
    if (names == NULL) return lvlm_fail_memory(err);
    return cause_try(
        s, "thirds", lvlm_arena_printf(&s->arena, "%s read as %s", names, orders[by]),
        lvlm_arena_printf(&s->arena, "%s: what is stored are %s", names, orders[by]),
        err);
}

/* Head by head, or third by third. */
static int try_grouped(cause_session *s, const thirds *t, bool back, lvlm_error *err)
{
    const char *const source = t->weight[0]->source_name;
    const char *const stored = back ? "third by third" : "head by head";
    TRY(regroup(s, t->weight, back, err));
    if (t->n_biases == 3) TRY(regroup(s, t->bias, back, err));
    return cause_try(
        s, "thirds", lvlm_arena_printf(&s->arena, "%s read %s", source, stored),
        lvlm_arena_printf(&s->arena,
                          "%s: queries, keys and values are stored %s, this family "
                          "has them %s",
                          source, stored, back ? "head by head" : "third by third"),
        err);
}

static int try_thirds(cause_session *s, lvlm_error *err)
{
    thirds t;
    for (size_t i = 0; i < s->n_feeds; i++) {
        if (!find_thirds(&t, s, i)) continue;
        TRY(try_rotated(s, &t, 1, err));
        TRY(try_rotated(s, &t, 2, err));
        const char *const q = t.weight[0]->source_name;
        const char *const k = t.weight[1]->source_name;
        if (q == NULL || k == NULL || strcmp(q, k) != 0)
            continue; /* they are tensors of their own */
        const size_t heads =
            (size_t)t.weight[0]->shape.dims[0] / cause_head_dim(s, t.weight[0]);
        TRY(try_grouped(s, &t, false, err));
        if (heads != 3) TRY(try_grouped(s, &t, true, err)); /* of 3: the same */
    }
    return 0;
}

/* ---- an embedding in the place of the head --------------------------------------- */

static int try_head(cause_session *s, lvlm_error *err)
{
    const lvlm_target *const head = lvlm_manifest_find(s->manifest, "text.head.weight");
    const lvlm_target *const table = lvlm_manifest_find(s->manifest, LVLM_EMBED_TABLE);
    if (!cause_spans(s, "logits") || head == NULL || head->here.tensor == NULL ||
        head->state == LVLM_TARGET_TIED ||
        !lvlm_shape_equal(&head->shape, &table->shape))
        return 0;
    variant_use(&s->changed, head, table);
    return cause_try(s, "tied",
                     lvlm_arena_printf(&s->arena, "%s in place of %s",
                                       cause_name(table), cause_name(head)),
                     LVLM_TIE_KEY ": the reference has the head tied to the embedding",
                     err);
}

/* ---- other versions -------------------------------------------------------------- */

/* "final_softcap, sliding_window": those that are in only one of two sets. */
static const char *list_differences(cause_session *s, uint64_t bits)
{
    const char *text = "";
    for (const lvlm_difference *d = s->manifest->family->differences;
         d->behaviour != LVLM_AS_TRAINED; d++) {
        if ((bits >> d->behaviour & 1) == 0) continue;
        bits &= ~((uint64_t)1 << d->behaviour);
        text = lvlm_arena_printf(&s->arena, "%s%s%s", text, *text != '\0' ? ", " : "",
                                 lvlm_difference_name(d));
        if (text == NULL) return NULL;
    }
    return text;
}

typedef struct references {
    uint64_t tried[64];
    size_t n;
} references;

/* One that computes something else than those before it. */
static int try_reference(cause_session *s, references *r, const char *reference,
                         lvlm_error *err)
{
    const lvlm_family *const family = s->manifest->family;
    if (reference == NULL) return lvlm_fail_memory(err);
    const uint64_t now = lvlm_reference_behaviours(family, s->replay->reference);
    const uint64_t bits = lvlm_reference_behaviours(family, reference);
    for (size_t i = 0; i < r->n; i++)
        if (r->tried[i] == bits) return 0;
    if (bits == now || r->n == sizeof r->tried / sizeof *r->tried) return 0;
    r->tried[r->n++] = bits;
    const char *const names = list_differences(s, bits ^ now);
    if (names == NULL) return lvlm_fail_memory(err);
    s->changed.reference = reference;
    return cause_try(
        s, "reference", lvlm_arena_printf(&s->arena, "the behaviour of %s", reference),
        lvlm_arena_printf(&s->arena, "--reference %s differs in %s", reference, names),
        err);
}

int cause_try_references(cause_session *s, lvlm_error *err)
{
    const char *const recorded = s->replay->recording.reference;
    references r = { .n = 0 };
    if (recorded != NULL && s->judge == NULL)
        return try_reference(s, &r, recorded, err);
    TRY(try_reference(s, &r, LVLM_REFERENCE_TRAINED, err));
    for (const lvlm_difference *d = s->manifest->family->differences;
         d->behaviour != LVLM_AS_TRAINED; d++) {
        const char *const versions[] = { d->since, d->until };
        for (size_t i = 0; i < 2; i++)
            if (versions[i] != NULL)
                TRY(try_reference(
                    s, &r, lvlm_arena_printf(&s->arena, "transformers-%s", versions[i]),
                    err));
    }
    return try_reference(s, &r, "transformers-4.40", err);
}

int cause_try_others(cause_session *s, bool relations, lvlm_error *err)
{
    if (relations) TRY(cause_try_references(s, err));
    TRY(try_exchanges(s, relations, err));
    if (!relations) TRY(try_thirds(s, err));
    if (!relations) TRY(try_other_stages(s, err));
    TRY(try_blocks(s, relations, err));
    return relations ? 0 : try_head(s, err);
}
