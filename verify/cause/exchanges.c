/* exchanges.c - tensors in the place of others, and the behaviour of other versions;
 * see trial.h. */
#include <stdlib.h>
#include <string.h>

#include "formats/base/text.h"
#include "verify/cause/trial.h"

/* Is it one that decides which rows attend to which: queries, keys, their norms? */
static bool is_of_relations(const lvlm_target *t)
{
    return lvlm_matches_listed("*attn.[qk].*|*cross.[qk].*|*[qk]_norm.*", t->name);
}

/* ---- two of a block exchanged ---------------------------------------------------- */

static void exchange(cause_session *s, const lvlm_target *a, const lvlm_target *b)
{
    variant_use(&s->changed, a, b);
    variant_use(&s->changed, b, a);
}

static int try_pair(cause_session *s, const lvlm_target *a, const lvlm_target *b,
                    bool with_bias, lvlm_error *err)
{
    const lvlm_target *const x = cause_bias(s, a), *const y = cause_bias(s, b);
    if (with_bias && (x == NULL || y == NULL)) return 0;
    exchange(s, a, b);
    if (with_bias) exchange(s, x, y);
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
                !lvlm_shape_equal(&a->shape, &b->shape))
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

/* Rows of queries, keys and values, stored head by head in one tensor: to those of all
 * heads, third by third. The opposite with `back`. */
static int regroup(cause_session *s, const lvlm_target *const thirds[3], bool back,
                   lvlm_error *err)
{
    double *to[3], *from[3];
    const size_t D = cause_head_dim(s, thirds[0]);
    const size_t rows = (size_t)thirds[0]->shape.dims[0], heads = rows / D;
    const size_t inner = (size_t)lvlm_tensor_numel(thirds[0]->here.tensor) / rows;
    for (size_t i = 0; i < 3; i++) {
        if ((from[i] = lvlm_arena_alloc(&s->arena, rows * inner, sizeof(double))) ==
                NULL ||
            (to[i] = variant_values(&s->changed, thirds[i])) == NULL)
            return lvlm_fail_memory(err);
        memcpy(from[i], to[i], rows * inner * sizeof(double));
    }
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

static int try_thirds(cause_session *s, lvlm_error *err)
{
    for (size_t i = 0; i < s->n_feeds; i++) {
        const lvlm_target *const q = s->feeds[i];
        const char *const source = cause_name(q);
        const lvlm_target *parts[2][3]; /* weights, biases */
        size_t n[2] = { 0 };
        if (!lvlm_matches_listed("*attn.q.weight", q->name)) continue;
        for (size_t k = i; k < s->n_feeds; k++) {
            const lvlm_target *const t = s->feeds[k];
            const bool bias = lvlm_matches_listed("*attn.[qkv].bias", t->name);
            if ((bias || lvlm_matches_listed("*attn.[qkv].weight", t->name)) &&
                n[bias] < 3)
                parts[bias][n[bias]++] = t;
        }
        const size_t D = cause_head_dim(s, q);
        if (n[0] < 3 || D == 0 || q->shape.dims[0] % D != 0 ||
            !lvlm_shape_equal(&q->shape, &parts[0][1]->shape) ||
            strcmp(source, cause_name(parts[0][1])) != 0)
            continue; /* they are tensors of their own */
        for (int back = 0; back <= 1; back++) {
            TRY(regroup(s, parts[0], back != 0, err));
            if (n[1] == 3) TRY(regroup(s, parts[1], back != 0, err));
            TRY(cause_try(s, "thirds",
                          lvlm_arena_printf(&s->arena, "%s read %s", source,
                                            back ? "third by third" : "head by head"),
                          lvlm_arena_printf(
                              &s->arena,
                              "%s: queries, keys and values are stored %s, this family "
                              "has them %s",
                              source, back ? "third by third" : "head by head",
                              back ? "head by head" : "third by third"),
                          err));
        }
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
    TRY(try_blocks(s, relations, err));
    return relations ? 0 : try_head(s, err);
}
