/* own.c - the errors of stages by themselves; see own.h. */
#include "verify/replay/own.h"

#include <math.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/container/numeric.h"
#include "verify/cause/cause.h"
#include "verify/replay/replay_parts.h"

/* ---- a pass from recorded rows --------------------------------------------------- */

bool lvlm_is_givable(const lvlm_replay_stage *s)
{
    return !s->is_gradient && s->rows.kept == NULL && lvlm_verdict_compared(s->verdict);
}

static bool wants(void *user, const char *name)
{
    const lvlm_given_pass *const p = user;
    const lvlm_replay_stage *const stage = lvlm_replay_find(p->replay, name);
    if (p->meets != NULL) p->meets(p->user, name, stage);
    return stage != NULL && p->wants(p->user, stage);
}

static int take(void *user, const lvlm_tensor *got, lvlm_error *err)
{
    const lvlm_given_pass *const p = user;
    return p->take(p->user, lvlm_replay_find(p->replay, got->name), got, err);
}

static bool gives(void *user, const char *name)
{
    const lvlm_given_pass *const p = user;
    const lvlm_replay_stage *const stage = lvlm_replay_find(p->replay, name);
    return stage != NULL && lvlm_is_givable(stage);
}

static int give(void *user, const lvlm_tensor *given, void *values, lvlm_error *err)
{
    const lvlm_given_pass *const p = user;
    const lvlm_replay_stage *const stage = lvlm_replay_find(p->replay, given->name);
    const lvlm_tensor *const recorded = stage->recorded;
    FAIL_IF(!lvlm_shape_equal(&recorded->shape, &given->shape), err, LVLM_EFORMAT,
            "stage %s: has another shape than in the first pass", given->name);
    lvlm_convert_values(values, given->dtype, recorded->data, recorded->dtype,
                        (size_t)lvlm_tensor_numel(recorded));
    if (p->alters != NULL) p->alters(p->user, stage, given, values);
    return 0;
}

int lvlm_given_pass_run(const lvlm_given_pass *pass, lvlm_model *model, lvlm_error *err)
{
    lvlm_given_pass copy = *pass;
    const lvlm_stage_sink sink = {
        .take = take, .wants = wants, .gives = gives, .give = give, .user = &copy
    };
    return lvlm_model_forward(model, pass->replay->recording.checkpoint,
                              LVLM_RECORDED_INPUT, &sink, err);
}

/* ---- errors ---------------------------------------------------------------------- */

typedef struct session {
    lvlm_replay *replay;
    bool has_cross;                 /* the text reads connector.out, not in its rows */
    const lvlm_replay_stage *given; /* the last stage met that is given ... */
    bool gap;                       /* ... and one that is not came after it */
} session;

double lvlm_own_limit(const lvlm_replay_stage *stage)
{
    return stage->looked_again ? fmax(stage->band, stage->explained) : stage->band;
}

bool lvlm_own_agrees(const lvlm_replay_stage *stage, const lvlm_stage_error *found)
{
    return lvlm_judged_error(stage, found) <= lvlm_own_limit(stage) &&
           (!stage->is_logits || found->max_kl <= stage->band_kl);
}

static bool is_separable(const lvlm_replay_stage *s)
{
    return s->verdict == LVLM_VERDICT_OUT && !s->is_gradient;
}

static bool wants_failed(void *user, const lvlm_replay_stage *stage)
{
    (void)user;
    return is_separable(stage);
}

/* The error of what a stage was computed from in the whole pass. */
static double given_error(const session *s, const lvlm_replay_stage *stage)
{
    const lvlm_replay_stage *const images =
        lvlm_replay_find(s->replay, "connector.out");
    double error = s->given != NULL ? s->given->error : 0;
    if (s->has_cross && images != NULL && lvlm_starts_with(stage->name, "text.blocks."))
        error = fmax(error, images->error);
    return error;
}

/* From which recorded stage a stage will be computed. */
static void meets(void *user, const char *name, const lvlm_replay_stage *stage)
{
    session *const s = user;
    if (stage != NULL && stage->share.met) return;
    if (s->has_cross && strcmp(name, "text.embed") == 0)
        s->given = NULL, s->gap = false; /* ids are all that it is made of */
    if (stage == NULL) {
        s->gap = true;
        return;
    }
    lvlm_replay_stage *const own = lvlm_replay_find(s->replay, name);
    own->share = (lvlm_replay_share){ .met = true,
                                      .from = s->given != NULL ? s->given->name : NULL,
                                      .is_direct = !s->gap,
                                      .given = given_error(s, stage) };
    if (lvlm_is_givable(stage))
        s->given = stage, s->gap = false;
    else
        s->gap = true;
}

static int take_own(void *user, const lvlm_replay_stage *stage, const lvlm_tensor *got,
                    lvlm_error *err)
{
    const session *const s = user;
    lvlm_replay_stage *const own = lvlm_replay_find(s->replay, stage->name);
    lvlm_stage_error found;
    TRY(lvlm_stage_compare(&found, got, stage->recorded, &stage->rows, stage->is_logits,
                           err));
    own->share.known = true;
    own->share.own = lvlm_judged_error(stage, &found);
    own->share.is_cause = !lvlm_own_agrees(stage, &found);
    return 0;
}

int lvlm_own_errors(lvlm_replay *r, const lvlm_model_options *options, bool explains,
                    lvlm_error *err)
{
    session s = { .replay = r };
    lvlm_model_options again = *options;
    lvlm_model *model = NULL;
    size_t n = 0;
    for (size_t i = 0; i < r->n_stages; i++) n += is_separable(&r->stages[i]);
    const bool gradients = n == 0 && r->first_bad != NULL &&
                           lvlm_starts_with(r->first_bad->name, LVLM_RECORDED_GRADIENT);
    if (n == 0 && !gradients) return 0;
    again.check = false; /* the first pass did, and noted what there is */
    again.notes = NULL;
    again.trains = NULL;
    TRY(lvlm_model_open(&model, r->model, &again, err));
    if (gradients) {
        const int rc = lvlm_cause_of_gradients(r, model, &again, explains, err);
        lvlm_model_free(model);
        return rc;
    }
    const lvlm_given_pass pass = {
        .replay = r, .wants = wants_failed, .take = take_own, .meets = meets, .user = &s
    };
    const cJSON *const config = lvlm_model_manifest(model)->config;
    s.has_cross = lvlm_json_path(config, "text.cross_layers") != NULL;
    int rc = lvlm_given_pass_run(&pass, model, err);
    for (size_t i = 0; rc == 0 && i < r->n_stages && r->cause == NULL; i++)
        if (r->stages[i].share.is_cause) r->cause = &r->stages[i];
    if (rc == 0 && explains && r->cause != NULL && r->agrees_with == NULL)
        rc = lvlm_cause_find(r, model, &again, err);
    lvlm_model_free(model);
    return rc;
}
