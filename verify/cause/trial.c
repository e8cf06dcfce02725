/* trial.c - the stage computed with a variant of the model; see trial.h. */
#include "verify/cause/trial.h"

#include <math.h>
#include <string.h>

#include "verify/replay/own.h"
#include "verify/replay/replay_parts.h"

#define MUCH 4.0 /* times as near as before: worth to be said */

typedef struct trial {
    const cause_session *session;
    bool all;     /* every stage; else only the one at fault */
    double *rows; /* (R,C) of that one, as computed; NULL: not asked for */
    double error; /* of the last one */
    bool agrees;
    size_t n_agree;  /* stages that had an error of their own */
    size_t n_broken; /* stages that had none */
} trial;

/* Was the stage right by itself? */
static bool was_right(const lvlm_replay_stage *stage)
{
    return lvlm_verdict_passes(stage->verdict) ||
           (stage->share.known && !stage->share.is_cause);
}

static bool wants(void *user, const lvlm_replay_stage *stage)
{
    const trial *const t = user;
    return t->all ? stage->share.is_cause || was_right(stage)
                  : stage == t->session->stage;
}

static int take(void *user, const lvlm_replay_stage *stage, const lvlm_tensor *got,
                lvlm_error *err)
{
    trial *const t = user;
    lvlm_stage_error found;
    if (!lvlm_stages_fit(&got->shape, &stage->shape, &stage->rows)) return 0;
    TRY(lvlm_stage_compare(&found, got, stage->recorded, &stage->rows, stage->is_logits,
                           err));
    t->error = lvlm_judged_error(stage, &found);
    t->agrees = lvlm_own_agrees(stage, &found);
    t->n_agree += t->agrees && stage->share.is_cause;
    t->n_broken +=
        !stage->share.is_cause && !(t->error <= MUCH * lvlm_own_limit(stage));
    if (t->rows != NULL) cause_read_rows(t->rows, t->session, got, NULL, t->session->R);
    return 0;
}

/* A variant that cannot be computed is passed over. */
static int compute(trial *t, lvlm_error *err)
{
    const cause_session *const s = t->session;
    lvlm_model_options options = s->options;
    lvlm_model *model = NULL;
    lvlm_error ignored = { .text = "" };
    const lvlm_given_pass pass = {
        .replay = s->replay, .wants = wants, .take = take, .user = t
    };
    if (s->changed.reference != NULL) options.reference = s->changed.reference;
    int rc = lvlm_model_bind(&model, &s->changed.manifest, &options, &ignored);
    if (rc == 0) rc = lvlm_given_pass_run(&pass, model, &ignored);
    lvlm_model_free(model);
    return rc == LVLM_ENOMEM ? lvlm_fail_memory(err) : 0;
}

/* ---- candidates ------------------------------------------------------------------ */

bool cause_is_found(const cause_session *s)
{
    return s->out->n_candidates > 0 && s->out->candidates[0].agrees;
}

bool cause_names_it(const cause_session *s, const char *mistake)
{
    for (size_t i = 0; i < s->out->n_candidates; i++)
        if (s->out->candidates[i].agrees &&
            strcmp(s->out->candidates[i].mistake, mistake) == 0)
            return true;
    return false;
}

/* Those that settle most first. */
static void sort(lvlm_cause *out)
{
    for (size_t i = out->n_candidates - 1; i > 0; i--) {
        lvlm_cause_candidate *const c = &out->candidates[i];
        if (c[-1].n_settled >= c->n_settled) return;
        const lvlm_cause_candidate before = c[-1];
        c[-1] = *c;
        *c = before;
    }
}

/* One of the same mistake that settles as much, or NULL. */
static lvlm_cause_candidate *find_alike(const cause_session *s,
                                        const lvlm_cause_candidate *c)
{
    for (size_t i = 0; i < s->out->n_candidates; i++) {
        lvlm_cause_candidate *const k = &s->out->candidates[i];
        if (c->agrees && k->agrees && strcmp(k->mistake, c->mistake) == 0 &&
            k->n_settled == c->n_settled)
            return k;
    }
    return NULL;
}

/* Two ways to undo a mistake that this stage cannot tell apart are one candidate. */
static int join(cause_session *s, lvlm_cause_candidate *to, const char *with,
                lvlm_error *err)
{
    enum { NAMED = 3 };
    if (strstr(to->sentence, with) != NULL || ++to->n_alike > NAMED) return 0;
    to->sentence = lvlm_arena_printf(&s->replay->arena,
                                     "%s; or with %s, which comes to "
                                     "the same",
                                     to->sentence, with);
    return to->sentence != NULL ? 0 : lvlm_fail_memory(err);
}

/* Keep those that agree, or else the nearest. */
static int keep(cause_session *s, const lvlm_cause_candidate *c, const char *with,
                lvlm_error *err)
{
    lvlm_cause *const out = s->out;
    lvlm_cause_candidate *const alike = find_alike(s, c);
    if (alike != NULL) return join(s, alike, with, err);
    const double least =
        out->n_candidates > 0 ? out->candidates[0].error : s->stage->share.own;
    if (!c->agrees && (cause_is_found(s) || !(c->error < least))) return 0;
    const double own = s->stage->share.own;
    if (!c->agrees && !(isfinite(own) && c->error < own / MUCH)) return 0;
    if (!cause_is_found(s)) out->n_candidates = 0; /* only near */
    lvlm_cause_candidate *const list =
        lvlm_arena_room(&s->replay->arena, out->candidates, out->n_candidates,
                        &s->candidate_room, sizeof *list);
    if (list == NULL) return lvlm_fail_memory(err);
    out->candidates = list;
    list[out->n_candidates++] = *c;
    sort(out);
    return 0;
}

/* Numbers that were altered and stored again lost their last bits: is no more left of
 * the error than that, and was there much more? */
static bool is_rounding(const cause_session *s, double error)
{
    return error <= 4 * s->changed.epsilon && error * 64 < s->stage->share.own;
}

/* "agrees to 4e-16, and 2 others do too" */
static const char *result(cause_session *s, const cause_finding *f, bool rounds)
{
    const size_t others = f->n_settled - 1;
    if (rounds)
        return lvlm_arena_printf(&s->arena,
                                 "agrees to %.0e, as nearly as rounding of the changed "
                                 "values allows",
                                 f->error);
    if (f->n_settled > 1 && s->noun != NULL)
        return lvlm_arena_printf(
            &s->arena, "agrees to %.0e, and so do%s %zu other%s that differ%s",
            f->error, others == 1 ? "es" : "", others, others == 1 ? "" : "s",
            others == 1 ? "s" : "");
    if (f->n_settled > 1)
        return lvlm_arena_printf(&s->arena,
                                 "agrees to %.0e, and %zu other%s with an "
                                 "error of %s own too",
                                 f->error, others, others == 1 ? "" : "s",
                                 others == 1 ? "its" : "their");
    return lvlm_arena_printf(&s->arena, "agrees to %.0e", f->error);
}

int cause_offer(cause_session *s, const char *mistake, const char *with,
                const char *see, const cause_finding *f, lvlm_error *err)
{
    lvlm_arena *const arena = &s->replay->arena;
    const bool rounds = !f->agrees && is_rounding(s, f->error);
    const char *const how = result(s, f, rounds);
    if (with == NULL || see == NULL || how == NULL) return lvlm_fail_memory(err);
    if (f->breaks) return 0;
    const lvlm_cause_candidate c = {
        .mistake = mistake,
        .sentence =
            f->agrees || rounds
                ? lvlm_arena_printf(arena, "with %s this %s %s: %s", with,
                                    s->noun != NULL ? s->noun : "stage", how, see)
                : lvlm_arena_printf(arena, "nearest: with %s its error is %.1e: %s",
                                    with, f->error, see),
        .error = f->error,
        .agrees = f->agrees || rounds,
        .n_settled = f->n_settled,
    };
    if (c.sentence == NULL) return lvlm_fail_memory(err);
    return keep(s, &c, with, err);
}

static int judge_stage(cause_session *s, cause_finding *out, lvlm_error *err)
{
    trial t = { .session = s, .error = INFINITY }, all = { .session = s, .all = true };
    TRY(compute(&t, err));
    if (t.agrees || is_rounding(s, t.error)) TRY(compute(&all, err));
    *out = (cause_finding){ .error = t.error,
                            .agrees = t.agrees,
                            .n_settled = all.n_agree > 1 ? all.n_agree : t.agrees,
                            .breaks = all.n_broken > 0 };
    return 0;
}

int cause_compute(cause_session *s, double *rows, double *error, lvlm_error *err)
{
    trial t = { .session = s, .rows = rows, .error = INFINITY };
    TRY(compute(&t, err));
    s->out->n_tried++;
    *error = t.error;
    return 0;
}

int cause_try(cause_session *s, const char *mistake, const char *with, const char *see,
              lvlm_error *err)
{
    cause_finding found;
    if (with == NULL || see == NULL) return lvlm_fail_memory(err);
    if (s->out->n_tried >= s->most_tries) {
        s->out->n_left_out++;
        return variant_reset(&s->changed, err);
    }
    TRY(s->judge != NULL ? s->judge(s->judge_user, &found, err)
                         : judge_stage(s, &found, err));
    s->out->n_tried++;
    TRY(cause_offer(s, mistake, with, see, &found, err));
    return variant_reset(&s->changed, err);
}
