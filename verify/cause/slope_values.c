/* slope_values.c - what a recorded gradient has in place of ours: zeros, a multiple,
 * another order, that of another tensor, another number of rows; see slope.h.
 *
 * A mistake in weights that no stage shows is one that the model takes out again: two
 * tensors that only meet in a product exchanged, heads in another order everywhere, a
 * factor before a norm. Gradients have it too, so it is found by comparing them, and
 * proved by undoing it in the weights and one backward pass. Where that does not make
 * gradients agree, the recording itself has them so. */
#include <math.h>
#include <string.h>

#include "runtime/gradient_list.h"
#include "verify/cause/slope.h"
#include "verify/replay/own.h"
#include "verify/replay/recording.h"

enum { MOST_OWN = 256 }; /* slopes that are looked at one by one */

/* What may have become of a gradient. */
typedef struct change {
    enum { ZEROED, MULTIPLIED, REORDERED, EXCHANGED } kind;
    cause_order order;
    double factor;            /* computed over recorded; 0: each has its own */
    const slope *one, *other; /* EXCHANGED */
} change;

/* Targets that have it. */
typedef struct group {
    const lvlm_target *targets[VARIANT_TENSORS];
    double factors[VARIANT_TENSORS];
    size_t n;
    const char *names;
    cause_finding found; /* with the gradients alone changed */
} group;

/* ---- gradients ------------------------------------------------------------------- */

/* Computed over recorded, as nearly as one number says it. */
static double factor_of(const slope *x)
{
    return x->distance.b2 > 0 ? x->distance.ab / x->distance.b2 : 0;
}

/* The error of a slope with the change undone. */
static double changed_error(const slopes *l, const slope *x, const change *c)
{
    const slope *const pair = x == c->one ? c->other : c->one;
    const double f = c->factor != 0 ? c->factor : factor_of(x);
    if (!slope_load(l, c->kind == EXCHANGED ? pair : x, l->model)) return INFINITY;
    switch (c->kind) {
    case ZEROED: return slope_error(l, x, 0);
    case MULTIPLIED: return f != 0 ? slope_error(l, x, 1 / f) : INFINITY;
    case REORDERED:
        memcpy(l->room, l->got, x->n * sizeof *l->room);
        cause_arrange(l->got, l->room, &c->order, &l->s, x->target);
        return slope_error(l, x, 1);
    case EXCHANGED: break;
    }
    memcpy(l->room, l->got, x->n * sizeof *l->room);
    if (!slope_load(l, x, l->model)) return INFINITY;
    memcpy(l->got, l->room, x->n * sizeof *l->room);
    return slope_error(l, x, 1);
}

/* Is another part of the same source tensor there? */
static bool is_named(const lvlm_target *const *list, size_t n, const lvlm_target *t)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(cause_name(list[i]), cause_name(t)) == 0) return true;
    return false;
}

/* Those that agree with it, and what comes of it. */
static int collect(slopes *l, group *g, const change *c, lvlm_error *err)
{
    double error = 0;
    bool agrees = true;
    const lvlm_target *named[VARIANT_TENSORS];
    size_t n_named = 0;
    *g = (group){ .n = 0 };
    for (size_t i = 0; i < l->n; i++) {
        slope *const x = &l->at[i];
        x->agrees = !x->wrong;
        if (!x->wrong || (c->kind == EXCHANGED && x != c->one && x != c->other))
            continue;
        const double left = changed_error(l, x, c);
        x->agrees = left <= slope_limit(x);
        if (x->stage == l->s.stage) error = fmax(error, left);
        if (!x->agrees || g->n == VARIANT_TENSORS) continue;
        if (!is_named(named, n_named, x->target)) named[n_named++] = x->target;
        g->factors[g->n] = factor_of(x);
        g->targets[g->n++] = x->target;
    }
    for (size_t i = 0; i < l->n; i++)
        if (l->at[i].stage == l->s.stage) agrees &= l->at[i].agrees;
    g->found = (cause_finding){ error, agrees, slopes_count_settled(l) };
    g->names = cause_names(&l->s, named, n_named);
    return g->names != NULL ? 0 : lvlm_fail_memory(err);
}

/* ---- weights --------------------------------------------------------------------- */

static int undo(slopes *l, const group *g, const change *c, lvlm_error *err)
{
    variant *const v = &l->s.changed;
    if (c->kind == EXCHANGED) {
        variant_use(v, c->one->target, c->other->target);
        variant_use(v, c->other->target, c->one->target);
        return 0;
    }
    for (size_t i = 0; i < g->n; i++) {
        const lvlm_target *const t = g->targets[i];
        if (c->kind == REORDERED) {
            TRY(cause_undo_order(&l->s, &c->order, t, err));
            continue;
        }
        double *const x = variant_rounded(v, t);
        if (x == NULL) return lvlm_fail_memory(err);
        for (uint64_t k = 0; k < lvlm_tensor_numel(t->here.tensor); k++)
            x[k] *= g->factors[i];
    }
    return 0;
}

/* What is said of a change: of weights, or else of gradients. */
typedef struct words {
    const char *mistake;
    const char *weights, *gradients; /* what is done */
    const char *see, *recorded;      /* what they hold */
} words;

/* Undone in the weights if that is it, or else in the recording. */
static int try_change(slopes *l, const group *g, const change *c, const words *w,
                      lvlm_error *err)
{
    cause_session *const s = &l->s;
    if (!g->found.agrees || g->n == 0) return 0;
    if (w->weights == NULL || w->gradients == NULL || w->see == NULL ||
        w->recorded == NULL)
        return lvlm_fail_memory(err);
    TRY(undo(l, g, c, err));
    TRY(cause_try(
        s, w->mistake, w->weights,
        lvlm_arena_printf(&s->arena, "%s: %s, which no stage shows", g->names, w->see),
        err));
    if (cause_is_found(s)) return 0;
    return cause_offer(
        s, w->mistake, w->gradients,
        lvlm_arena_printf(&s->arena, "%s: the recording has %s, the weights are right",
                          g->names, w->recorded),
        &g->found, err);
}

/* ---- zeros ----------------------------------------------------------------------- */

static int try_zeros(slopes *l, lvlm_error *err)
{
    cause_session *const s = &l->s;
    const change c = { .kind = ZEROED };
    group g;
    for (size_t i = 0; i < l->n; i++)
        if (l->at[i].stage == s->stage && l->at[i].distance.b2 > 0) return 0;
    s->out->n_tried++;
    TRY(collect(l, &g, &c, err));
    if (!g.found.agrees || g.n == 0) return 0;
    return cause_offer(
        s, "frozen", lvlm_arena_printf(&s->arena, "%s frozen", g.names),
        lvlm_arena_printf(&s->arena,
                          "%s: the recording has zeros; the reference did not train "
                          "it (requires_grad, no_grad or detach)",
                          g.names),
        &g.found, err);
}

/* ---- a multiple ------------------------------------------------------------------ */

/* "2 times NAMES", "NAMES, each times a factor of its own" */
static const char *times(cause_session *s, const group *g, bool inverse,
                         const char *what)
{
    bool same = true;
    for (size_t i = 0; i < g->n; i++)
        same &= fabs(g->factors[i] / g->factors[0] - 1) < 1e-6;
    const double f = inverse ? 1 / g->factors[0] : g->factors[0];
    return same ? lvlm_arena_printf(&s->arena, "%.6g times %s%s", f, what, g->names)
                : lvlm_arena_printf(&s->arena, "%s%s, each times a factor of its own,",
                                    what, g->names);
}

/* As factors that the next tensor takes out; each has its own. */
static int try_factors(slopes *l, const slope *x, lvlm_error *err)
{
    cause_session *const s = &l->s;
    const change c = { .kind = MULTIPLIED };
    group g;
    if (factor_of(x) == 0 || x->n < 2) return 0;
    s->out->n_tried++;
    TRY(collect(l, &g, &c, err));
    const words w = {
        .mistake = "factor",
        .weights = times(s, &g, false, ""),
        .gradients = times(s, &g, true, "the gradient of "),
        .see = "holds values times a factor, and what follows takes it out",
        .recorded = "a multiple of what its own loss gives",
    };
    return try_change(l, &g, &c, &w, err);
}

/* ---- another order, another tensor ----------------------------------------------- */

/* Does it have the values of the recorded one, as far as their length says? */
static bool same_length(const slope *a, const slope *b)
{
    const double x = sqrt(a->distance.a2), y = sqrt(b->distance.b2);
    return fabs(x - y) <= 2 * slope_limit(b) * fmax(y, b->least);
}

static int try_order(slopes *l, const change *c, lvlm_error *err)
{
    lvlm_arena *const arena = &l->s.arena;
    const cause_order *const o = &c->order;
    group g;
    TRY(collect(l, &g, c, err));
    const words w = {
        .mistake = o->mistake,
        .weights = lvlm_arena_printf(arena, "%s read %s", g.names, o->label),
        .gradients =
            lvlm_arena_printf(arena, "the gradient of %s read %s", g.names, o->label),
        .see = lvlm_arena_printf(arena, "%s %s", o->see, o->label),
        .recorded = lvlm_arena_printf(arena, "gradients %s", o->label),
    };
    return try_change(l, &g, c, &w, err);
}

static int try_orders(slopes *l, const slope *x, lvlm_error *err)
{
    change c = { .kind = REORDERED };
    if (!same_length(x, x)) return 0;
    while (!cause_is_found(&l->s) && cause_next_order(&c.order, &l->s, x->target)) {
        l->s.out->n_tried++;
        if (changed_error(l, x, &c) <= slope_limit(x)) TRY(try_order(l, &c, err));
    }
    return 0;
}

static int try_exchange(slopes *l, const change *c, lvlm_error *err)
{
    lvlm_arena *const arena = &l->s.arena;
    group g;
    l->s.out->n_tried++;
    TRY(collect(l, &g, c, err));
    const words w = {
        .mistake = "exchanged",
        .weights = lvlm_arena_printf(arena, "%s exchanged", g.names),
        .gradients = lvlm_arena_printf(arena, "the gradients of %s exchanged", g.names),
        .see = "each holds the other's values",
        .recorded = "each in the other's place",
    };
    return try_change(l, &g, c, &w, err);
}

static int try_exchanges(slopes *l, const slope *x, lvlm_error *err)
{
    for (size_t i = 0; i < l->n && !cause_is_found(&l->s); i++) {
        const slope *const y = &l->at[i];
        const change c = { .kind = EXCHANGED, .one = x, .other = y };
        if (y != x && y->own && same_length(x, y) && same_length(y, x) &&
            lvlm_shape_equal(&x->target->shape, &y->target->shape))
            TRY(try_exchange(l, &c, err));
    }
    return 0;
}

/* ---- another shape --------------------------------------------------------------- */

/* The gradient as the source has its tensor; false: there is none. */
static bool source_gradient(const lvlm_gradient_list *list, lvlm_tensor *out,
                            const lvlm_replay_stage *stage)
{
    const char *const name = stage->name + strlen(LVLM_RECORDED_GRADIENT);
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->tensors[i].name, name) == 0) {
            *out = list->tensors[i];
            return true;
        }
    return false;
}

/* The error of rows of `got`, or of its columns, which `want` has from `first` on. */
static double shape_error(const slopes *l, const lvlm_tensor *got,
                          const lvlm_tensor *want, uint64_t first, bool turned)
{
    const uint64_t R = got->shape.dims[0], C = got->shape.dims[1];
    double d2 = 0, w2 = 0;
    for (uint64_t r = 0; r < R; r++)
        for (uint64_t c = 0; c < C; c++) {
            const double w =
                cause_value(want, turned ? c * R + r : (first + r) * C + c);
            const double d = cause_value(got, r * C + c) - w;
            d2 += d * d;
            w2 += w * w;
        }
    return d2 == 0 ? 0 : sqrt(d2) / fmax(sqrt(w2), l->s.stage->least);
}

static int try_shape(slopes *l, const lvlm_tensor *got, lvlm_error *err)
{
    cause_session *const s = &l->s;
    const lvlm_tensor *const want = s->stage->recorded;
    const char *const name = got->name;
    if (got->shape.n != 2 || want->shape.n != 2) return 0;
    s->out->n_tried++;
    const uint64_t R = got->shape.dims[0], C = got->shape.dims[1];
    const uint64_t rows = want->shape.dims[0], columns = want->shape.dims[1];
    cause_finding found = { .n_settled = 1 };
    if (rows == C && columns == R) {
        found.error = shape_error(l, got, want, 0, true);
        found.agrees = found.error <= lvlm_own_limit(s->stage);
        return cause_offer(
            s, "transposed",
            lvlm_arena_printf(&s->arena, "the gradient of %s transposed", name),
            "the recording has it transposed", &found, err);
    }
    if (columns != C || rows <= R) return 0;
    for (uint64_t first = 0; first <= rows - R; first += rows - R) {
        found.error = shape_error(l, got, want, first, false);
        found.agrees = found.error <= lvlm_own_limit(s->stage);
        TRY(cause_offer(
            s, "rows",
            lvlm_arena_printf(&s->arena, "%llu more rows %s those of %s",
                              (unsigned long long)(rows - R),
                              first == 0 ? "after" : "before", name),
            lvlm_arena_printf(&s->arena,
                              "%s has %llu rows, where the reference has %llu: rows "
                              "are missing at its %s",
                              name, (unsigned long long)R, (unsigned long long)rows,
                              first == 0 ? "end" : "beginning"),
            &found, err));
    }
    return 0;
}

static int try_shapes(slopes *l, lvlm_error *err)
{
    lvlm_gradient_list list;
    lvlm_tensor got;
    if (l->s.stage->verdict != LVLM_VERDICT_SHAPE) return 0;
    int rc = lvlm_gradient_list_make(&list, l->model, true, err);
    if (rc == 0 && source_gradient(&list, &got, l->s.stage))
        rc = try_shape(l, &got, err);
    lvlm_gradient_list_free(&list);
    return rc;
}

/* ---- all ------------------------------------------------------------------------- */

int slopes_try_values(slopes *l, lvlm_error *err)
{
    const cause_session *const s = &l->s;
    TRY(try_shapes(l, err));
    TRY(try_zeros(l, err));
    for (size_t i = l->n, n = 0; i-- > 0 && n < MOST_OWN && !cause_is_found(s);) {
        const slope *const x = &l->at[i];
        if (x->stage != s->stage || !x->wrong || !x->fits) continue;
        n++;
        TRY(try_orders(l, x, err));
        if (!cause_is_found(s)) TRY(try_exchanges(l, x, err));
        if (!cause_is_found(s)) TRY(try_factors(l, x, err));
    }
    return 0;
}
