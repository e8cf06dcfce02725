/* judge.c - verdicts; see replay_parts.h. */
#include "verify/replay/replay_parts.h"

#include <assert.h>
#include <math.h>

static const struct {
    const char *name;
    bool passes, compared;
} verdicts[] = {
    [LVLM_VERDICT_OK] = { "ok", true, true },
    [LVLM_VERDICT_EXACT] = { "exact", true, true },
    [LVLM_VERDICT_ROUNDING] = { "rounding", true, true },
    [LVLM_VERDICT_OUT] = { "OUT OF BAND", false, true },
    [LVLM_VERDICT_MISSING] = { "missing", false, false },
    [LVLM_VERDICT_SHAPE] = { "wrong shape", false, false },
    [LVLM_VERDICT_VACUOUS] = { "vacuous", false, true },
};

const char *lvlm_verdict_name(lvlm_verdict verdict)
{
    assert((size_t)verdict < sizeof verdicts / sizeof *verdicts);
    return verdicts[verdict].name;
}

bool lvlm_verdict_passes(lvlm_verdict verdict)
{
    assert((size_t)verdict < sizeof verdicts / sizeof *verdicts);
    return verdicts[verdict].passes;
}

bool lvlm_verdict_compared(lvlm_verdict verdict)
{
    assert((size_t)verdict < sizeof verdicts / sizeof *verdicts);
    return verdicts[verdict].compared;
}

/* ---- judging -------------------------------------------------------------------- */

double lvlm_judged_error(const lvlm_replay_stage *stage, const lvlm_stage_error *found)
{
    const lvlm_distance *const d = &found->distance;
    if (!stage->is_gradient) return found->error;
    if (d->n_bad > 0) return INFINITY;
    if (d->difference2 == 0) return 0;
    const double length = fmax(sqrt(d->b2), stage->least);
    return length > 0 ? sqrt(d->difference2) / length : INFINITY;
}

void lvlm_judge(lvlm_replay_stage *stage, bool exact)
{
    const lvlm_stage_error *const e = &stage->found;
    stage->error = lvlm_judged_error(stage, e);
    stage->relative_l2 =
        stage->is_gradient ? stage->error : lvlm_relative_l2(&e->distance);
    stage->cosine = lvlm_cosine(&e->distance);
    const bool inside = isfinite(stage->error) && stage->error <= stage->band &&
                        (!stage->is_logits || e->max_kl <= stage->band_kl);
    stage->verdict = !inside                       ? LVLM_VERDICT_OUT
                     : exact && !stage->band_given ? LVLM_VERDICT_EXACT
                                                   : LVLM_VERDICT_OK;
}

int lvlm_judge_computed(lvlm_replay_stage *stage, const lvlm_tensor *got,
                        const lvlm_tensor *recorded, bool exact, lvlm_error *err)
{
    stage->got = got->shape;
    stage->verdict = LVLM_VERDICT_SHAPE;
    if (!lvlm_stages_fit(&got->shape, &recorded->shape, &stage->rows)) return 0;
    TRY(lvlm_stage_compare(&stage->found, got, recorded, &stage->rows, stage->is_logits,
                           err));
    lvlm_judge(stage, exact);
    return 0;
}

void lvlm_judge_wholes(lvlm_replay *r, size_t first, size_t end, double share)
{
    double sum = 0, n = 0;
    assert(first <= end && end <= r->n_stages);
    for (size_t i = first; i < end; i++) {
        sum += r->stages[i].found.distance.b2;
        n += (double)r->stages[i].found.distance.n;
    }
    for (size_t i = first; i < end; i++) {
        lvlm_replay_stage *const stage = &r->stages[i];
        if (!lvlm_verdict_compared(stage->verdict)) continue;
        stage->least = share * sqrt(sum / n * (double)stage->found.distance.n);
        lvlm_judge(stage, r->is_exact);
    }
}

void lvlm_judge_vacuous(lvlm_replay *r)
{
    double gradients2 = 0;
    for (size_t i = 0; i < r->n_stages; i++)
        if (r->stages[i].is_gradient) gradients2 += r->stages[i].found.distance.b2;
    for (size_t i = 0; i < r->n_stages; i++) {
        lvlm_replay_stage *const s = &r->stages[i];
        const bool empty = lvlm_verdict_compared(s->verdict) && s->found.n_rows == 0;
        const bool blind =
            s->is_gradient ? gradients2 == 0 : lvlm_stage_is_blind(&s->found);
        if (empty || (lvlm_verdict_passes(s->verdict) && blind))
            s->verdict = LVLM_VERDICT_VACUOUS;
    }
}

void lvlm_judge_all(lvlm_replay *r)
{
    assert(r->n_failed == 0 && r->first_bad == NULL);
    for (size_t i = 0; i < r->n_stages; i++) {
        if (lvlm_verdict_passes(r->stages[i].verdict)) continue;
        if (r->n_failed++ == 0) r->first_bad = &r->stages[i];
    }
}
