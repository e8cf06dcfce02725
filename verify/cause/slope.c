/* slope.c - the search for the cause of gradients that differ; see slope.h.
 *
 *   recorded gradients -> native parts -> a backward pass -> which differ, and which of
 *   these by themselves -> signs -> known mistakes */
#include "verify/cause/slope.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/container/numeric.h"
#include "formats/container/side_file.h"
#include "runtime/gradient_list.h"
#include "runtime/part.h"
#include "verify/replay/own.h"
#include "verify/replay/replay_parts.h"

enum { LEVELS = 10, FEWEST_PASSES = 12 };

#define MOST_WORK (UINT64_C(1) << 42) /* multiplications of all passes */

/* ---- the list -------------------------------------------------------------------- */

/* Tensors of a block in the order of its computation; those without a row come last. */
static const char *const levels[LEVELS - 1] = {
    "*.norm1.*",
    "*attn.[qkv].*|*cross.[qkv].*",
    "*.[qk]_norm.*",
    "*.out.*",
    "*.attn_gate|*.post_attn_norm.*",
    "*.norm2.*",
    "*.mlp.gate.*|*.mlp.up.*|*.fc1.*",
    "*.mlp.down.*|*.fc2.*",
    "*.mlp_gate|*.post_mlp_norm.*",
};

static size_t level_of(const char *name)
{
    size_t i = 0;
    while (i < LEVELS - 1 && !lvlm_matches_listed(levels[i], name)) i++;
    return i;
}

/* Where each target is in a forward. */
static int find_places(slopes *l, size_t *places, lvlm_error *err)
{
    const lvlm_manifest *const m = l->s.manifest;
    const char *before = "";
    size_t stage = 0;
    for (size_t i = 0; i < m->n_targets; i++) {
        const char *const name = cause_stage_of(&l->s, &m->targets[i]);
        if (name == NULL) return lvlm_fail_memory(err);
        stage += strcmp(name, before) != 0;
        before = name;
        places[i] = stage * LEVELS + level_of(m->targets[i].name);
    }
    return 0;
}

/* Add a part of a source tensor whose gradient is recorded. */
static void add(slopes *l, const size_t *places, const char *native, const char *source,
                const lvlm_shape *shape, const lvlm_transform *transform)
{
    const lvlm_manifest *const m = l->s.manifest;
    const lvlm_target *const t = lvlm_manifest_find(m, native);
    uint64_t n = 0;
    if (t == NULL || source == NULL || !lvlm_shape_numel(&n, &t->shape)) return;
    const char *const name =
        lvlm_arena_printf(&l->s.arena, LVLM_RECORDED_GRADIENT "%s", source);
    lvlm_replay_stage *const stage =
        name != NULL ? lvlm_replay_find(l->s.replay, name) : NULL;
    if (stage == NULL || stage->verdict == LVLM_VERDICT_MISSING) return;
    slope *const x = &l->at[l->n++];
    *x = (slope){ .target = t, .stage = stage, .transform = *transform };
    x->fits = lvlm_shape_equal(shape, &stage->shape);
    x->n = (size_t)n;
    x->R = t->shape.n > 0 ? (size_t)t->shape.dims[0] : 1;
    x->C = x->R > 0 ? x->n / x->R : 1;
    x->place = places[t - m->targets];
    const double all = (double)lvlm_tensor_numel(stage->recorded);
    x->least = all > 0 ? stage->least * sqrt((double)n / all) : 0;
    l->most = x->n > l->most ? x->n : l->most;
}

static int by_place(const void *a, const void *b)
{
    const slope *const x = a, *const y = b;
    if (x->place != y->place) return x->place < y->place ? -1 : 1;
    return x->target < y->target ? -1 : x->target > y->target;
}

static int list(slopes *l, lvlm_error *err)
{
    const lvlm_manifest *const m = l->s.manifest;
    const lvlm_ledger *const ledger = &m->ledger;
    size_t *const places =
        lvlm_arena_alloc(&l->s.arena, m->n_targets + 1, sizeof *places);
    l->at = lvlm_arena_alloc(&l->s.arena, m->n_targets + 1, sizeof *l->at);
    if (places == NULL || l->at == NULL) return lvlm_fail_memory(err);
    TRY(find_places(l, places, err));
    for (size_t i = 0; i < ledger->n_entries; i++) {
        const lvlm_ledger_entry *const e = &ledger->entries[i];
        for (size_t k = 0; e->use == LVLM_USE_USED && k < e->n_targets; k++) {
            lvlm_transform transform = e->transform;
            transform.index = k;
            add(l, places, e->targets[k], e->source.name, &e->source.shape, &transform);
        }
    }
    for (size_t i = 0; i < ledger->n_made; i++) {
        const lvlm_target *const t = lvlm_manifest_find(m, ledger->made[i].target);
        if (t == NULL || t->hf.transform.select > 0) continue;
        add(l, places, t->name, lvlm_gradient_source_name(m, t, &l->s.arena),
            &t->hf.shape, &t->hf.transform);
    }
    qsort(l->at, l->n, sizeof *l->at, by_place);
    return 0;
}

/* ---- comparing ------------------------------------------------------------------- */

bool slope_load(const slopes *l, const slope *x, const lvlm_model *model)
{
    const lvlm_tensor *const recorded = x->stage->recorded;
    const void *from = recorded->data;
    lvlm_tensor g;
    if (!x->fits || !lvlm_model_gradient(model, &g, x->target->name)) return false;
    lvlm_convert_values(l->got, LVLM_F64, g.data, g.dtype, x->n);
    if (!lvlm_transform_is_keep(&x->transform)) {
        if (!lvlm_transform_gather(l->raw, 0, x->n, &x->transform,
                                   lvlm_tensor_elements(recorded)))
            return false;
        from = l->raw;
    }
    lvlm_convert_values(l->want, LVLM_F64, from, recorded->dtype, x->n);
    return true;
}

double slope_limit(const slope *x)
{
    return lvlm_own_limit(x->stage);
}

static double error_of(const slope *x, const lvlm_distance *d)
{
    if (d->n_bad > 0) return INFINITY;
    if (d->difference2 == 0) return 0;
    const double length = fmax(sqrt(d->b2), x->least);
    return length > 0 ? sqrt(d->difference2) / length : INFINITY;
}

double slope_error(const slopes *l, const slope *x, double factor)
{
    lvlm_distance d = { 0 };
    if (factor != 1)
        for (size_t i = 0; i < x->n; i++) l->got[i] *= factor;
    lvlm_distance_add(&d, l->got, l->want, x->n);
    return error_of(x, &d);
}

size_t slopes_count_settled(const slopes *l)
{
    const lvlm_replay *const r = l->s.replay;
    size_t n = 0;
    for (size_t i = 0; i < r->n_stages; i++) {
        size_t parts = 0, agree = 0;
        for (size_t k = 0; k < l->n; k++) {
            parts += l->at[k].stage == &r->stages[i];
            agree += l->at[k].stage == &r->stages[i] && l->at[k].agrees;
        }
        n += parts > 0 && agree == parts && !lvlm_verdict_passes(r->stages[i].verdict);
    }
    return n;
}

void slopes_judge(const slopes *l, cause_finding *out, const lvlm_model *model,
                  double factor)
{
    bool spoils = false;
    *out = (cause_finding){ .error = 0 };
    for (size_t i = 0; i < l->n; i++) {
        slope *const x = &l->at[i];
        const bool there = slope_load(l, x, model);
        const double error = there ? slope_error(l, x, factor) : INFINITY;
        if (x->stage == l->s.stage) out->error = fmax(out->error, error);
        x->agrees = error <= slope_limit(x);
        spoils |= !x->agrees && !x->wrong && x->fits;
    }
    out->agrees = !spoils && out->error <= lvlm_own_limit(l->s.stage);
    out->n_settled = slopes_count_settled(l);
}

/* ---- passes ---------------------------------------------------------------------- */

bool slopes_can_pass(const slopes *l, size_t n)
{
    return l->s.out->n_passes + n <= l->most_passes;
}

int slopes_pass(slopes *l, lvlm_model *model, const lvlm_checkpoint *inputs,
                double scale, lvlm_error *err)
{
    lvlm_model_step step;
    l->s.out->n_passes++;
    return lvlm_model_backward(model, &step, inputs, LVLM_RECORDED_INPUT, scale, err);
}

int slopes_bind(const slopes *l, lvlm_model **out, const lvlm_manifest *manifest,
                const char *reference, lvlm_error *err)
{
    lvlm_model_options options = l->s.options;
    options.trains = lvlm_pass_trains_all;
    if (reference != NULL) options.reference = reference;
    return lvlm_model_bind(out, manifest, &options, err);
}

/* For cause_session.judge. A variant that cannot be computed is passed over. */
static int judge(void *user, cause_finding *out, lvlm_error *err)
{
    slopes *const l = user;
    lvlm_model *model = NULL;
    lvlm_error ignored = { .text = "" };
    *out = (cause_finding){ .error = INFINITY };
    if (!slopes_can_pass(l, 1)) {
        l->s.out->n_left_out++;
        return 0;
    }
    int rc = slopes_bind(l, &model, &l->s.changed.manifest, l->s.changed.reference,
                         &ignored);
    if (rc == 0)
        rc = slopes_pass(l, model, l->s.replay->recording.checkpoint, 0, &ignored);
    if (rc == 0) slopes_judge(l, out, model, 1);
    lvlm_model_free(model);
    return rc == LVLM_ENOMEM ? lvlm_fail_memory(err) : 0;
}

static void plan_passes(slopes *l)
{
    const lvlm_tensor *const ids = l->s.replay->recording.ids;
    uint64_t weights = 1, work;
    for (size_t i = 0; i < l->s.manifest->n_targets; i++)
        if (l->s.manifest->targets[i].here.tensor != NULL)
            weights += lvlm_tensor_numel(l->s.manifest->targets[i].here.tensor);
    work = 3 * weights * (ids != NULL ? lvlm_tensor_numel(ids) : 1);
    l->most_passes = (size_t)(MOST_WORK / work) + FEWEST_PASSES;
    l->s.most_tries = SIZE_MAX; /* of those that need no pass */
}

/* ---- which are wrong by themselves ----------------------------------------------- */

static void measure(slopes *l)
{
    for (size_t i = 0; i < l->n; i++) {
        slope *const x = &l->at[i];
        x->error = INFINITY;
        if (slope_load(l, x, l->model)) {
            lvlm_distance_add(&x->distance, l->got, l->want, x->n);
            x->error = error_of(x, &x->distance);
        }
        x->wrong =
            !lvlm_verdict_passes(x->stage->verdict) && !(x->error <= slope_limit(x));
    }
}

/* Does the gradient say that what flows back to its tensor is right? */
static bool is_proof(const slope *x)
{
    return x->fits && !x->wrong && x->distance.b2 > x->least * x->least;
}

/* Those by themselves, and replay->cause: the first from the head down. */
static void find_own(slopes *l)
{
    size_t right[LVLM_N_PARTS] = { SIZE_MAX, SIZE_MAX, SIZE_MAX }, last = 0;
    for (size_t i = l->n; i-- > 0;) {
        const slope *const x = &l->at[i];
        if (is_proof(x)) right[lvlm_part_of(x->target->name)] = x->place;
        if (x->wrong && last == 0) last = x->place;
    }
    for (size_t i = l->n; i-- > 0;) {
        slope *const x = &l->at[i];
        if (!x->wrong) continue;
        for (size_t part = 0; part <= lvlm_part_of(x->target->name); part++)
            x->own |= right[part] < x->place;
        x->own |= x->place == last;
        if (!x->own || x->stage->share.is_cause) continue;
        x->stage->share = (lvlm_replay_share){
            .own = x->stage->error, .is_cause = true, .given = NAN, .is_direct = true
        };
        l->s.out->n_causes++;
        if (l->s.replay->cause == NULL) l->s.replay->cause = x->stage;
    }
    for (size_t i = 0; i < l->s.replay->n_stages; i++)
        l->n_wrong += l->s.replay->stages[i].is_gradient &&
                      !lvlm_verdict_passes(l->s.replay->stages[i].verdict);
}

/* Known mistakes of all tensors of its stage, where that is not recorded: where it is,
 * they would show there. */
static int try_stage(slopes *l, const slope *cause, lvlm_error *err)
{
    cause_session *const s = &l->s;
    const lvlm_manifest *const m = s->manifest;
    const char *const stage = cause_stage_of(s, cause->target);
    const char **const span = lvlm_arena_alloc(&s->arena, 1, sizeof *span);
    if (stage == NULL || span == NULL) return lvlm_fail_memory(err);
    if (cause_is_found(s) || lvlm_replay_find(s->replay, stage) != NULL) return 0;
    *span = stage;
    s->span = span;
    s->n_span = 1;
    s->n_feeds = 0;
    for (size_t i = 0; i < m->n_targets && s->n_feeds < FEEDS; i++) {
        const char *const of = cause_stage_of(s, &m->targets[i]);
        if (of == NULL) return lvlm_fail_memory(err);
        if (m->targets[i].here.tensor != NULL && strcmp(of, stage) == 0)
            s->feeds[s->n_feeds++] = &m->targets[i];
    }
    return cause_search(s, err);
}

/* Without slopes only the names are known. */
static int search(slopes *l, bool explains, lvlm_error *err)
{
    cause_session *const s = &l->s;
    size_t at = 0;
    while (at < l->n && (l->at[at].stage != s->stage || !l->at[at].wrong)) at++;
    TRY(slopes_find_signs(l, err));
    TRY(cause_list_tensors(s, err));
    TRY(cause_find_weights(s, err));
    if (!explains || at == l->n) return 0;
    TRY(slopes_try_scale(l, err));
    if (!cause_is_found(s)) TRY(slopes_try_values(l, err));
    if (!cause_is_found(s)) TRY(slopes_try_losses(l, err));
    if (!cause_is_found(s)) TRY(slopes_try_ties(l, err));
    return try_stage(l, &l->at[at], err);
}

static int make_room(slopes *l, lvlm_error *err)
{
    const size_t n = l->most + 1;
    l->got = lvlm_calloc(n, sizeof *l->got);
    l->want = lvlm_calloc(n, sizeof *l->want);
    l->room = lvlm_calloc(n, sizeof *l->room);
    l->raw = lvlm_calloc(n, sizeof(double));
    return l->got != NULL && l->want != NULL && l->room != NULL && l->raw != NULL
               ? 0
               : lvlm_fail_memory(err);
}

/* The cause, and what its tensors are. */
static void choose(slopes *l)
{
    cause_session *const s = &l->s;
    lvlm_replay *const r = s->replay;
    if (r->cause == NULL) { /* of no tensor of this model */
        lvlm_replay_stage *const first = r->stages + (r->first_bad - r->stages);
        first->share = (lvlm_replay_share){ .own = first->error, .given = NAN };
        r->cause = first;
    }
    s->stage = s->out->stage = r->cause;
    for (size_t i = 0; i < l->n; i++)
        if (l->at[i].stage == s->stage && s->n_feeds < FEEDS)
            s->feeds[s->n_feeds++] = l->at[i].target;
}

static int find(slopes *l, bool explains, lvlm_error *err)
{
    cause_session *const s = &l->s;
    TRY(list(l, err));
    TRY(make_room(l, err));
    TRY(slopes_bind(l, &l->model, s->manifest, NULL, err));
    TRY(slopes_pass(l, l->model, s->replay->recording.checkpoint, 0, err));
    plan_passes(l);
    measure(l);
    find_own(l);
    choose(l);
    TRY(lvlm_side_file_json(&s->source_config, s->manifest->checkpoint, "config.json",
                            err));
    TRY(variant_make(&s->changed, s->manifest, err));
    return search(l, explains, err);
}

static void close(slopes *l)
{
    variant_free(&l->s.changed);
    lvlm_json_free(l->s.source_config);
    lvlm_arena_free(&l->s.arena);
    lvlm_model_free(l->model);
    lvlm_model_free(l->other);
    lvlm_free(l->got);
    lvlm_free(l->want);
    lvlm_free(l->room);
    lvlm_free(l->raw);
    lvlm_free(l);
}

int lvlm_cause_of_gradients(lvlm_replay *r, const lvlm_model *model,
                            const lvlm_model_options *options, bool explains,
                            lvlm_error *err)
{
    slopes *const l = lvlm_calloc(1, sizeof *l);
    lvlm_cause *const out = lvlm_arena_alloc(&r->arena, 1, sizeof *out);
    if (l == NULL || out == NULL) {
        lvlm_free(l);
        return lvlm_fail_memory(err);
    }
    l->s = (cause_session){ .replay = r,
                            .manifest = lvlm_model_manifest(model),
                            .options = *options,
                            .out = out,
                            .arena = LVLM_ARENA_INIT,
                            .judge = judge,
                            .judge_user = l,
                            .noun = "gradient" };
    const int rc = find(l, explains, err);
    if (rc == 0) r->why = out;
    close(l);
    return rc;
}
