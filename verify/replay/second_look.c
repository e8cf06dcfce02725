/* second_look.c - distinguishes rounding from a difference; see replay_parts.h. */
#include "verify/replay/replay_parts.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "formats/base/random.h"
#include "formats/base/text.h"
#include "formats/container/numeric.h"
#include "verify/replay/bands.h"
#include "verify/replay/coarse.h"

typedef struct look {
    lvlm_replay *replay;
    const lvlm_stage_list *kept;
    bool first_is_double; /* the kept stages are our double, else the new ones are */
    double own;           /* our error at the stage before */
} look;

/* ---- inputs moved by their last bit --------------------------------------------- */

/* A copy of a tensor in double, each value moved up or down by its last bit. */
static int nudge(lvlm_tensor *t, lvlm_arena *arena, lvlm_error *err)
{
    assert(t->data != NULL);
    const size_t n = (size_t)lvlm_tensor_numel(t);
    double *const x = lvlm_arena_alloc(arena, n + 1, sizeof *x);
    if (x == NULL) return lvlm_fail_memory(err);
    lvlm_convert_values(x, LVLM_F64, t->data, t->dtype, n);
    for (size_t i = 0; i < n; i++)
        x[i] *= (lvlm_random_scramble(i) & 1) != 0 ? 1 + DBL_EPSILON : 1 - DBL_EPSILON;
    t->dtype = LVLM_F64;
    t->data = (const unsigned char *)x;
    t->map = NULL;
    t->n_bytes = n * sizeof *x;
    return 0;
}

/* A copy of the recording with nudged pixels; the model nudges embeddings itself. */
static int nudge_inputs(lvlm_checkpoint *out, const lvlm_checkpoint *in,
                        lvlm_arena *arena, lvlm_error *err)
{
    *out = *in;
    out->tensors = lvlm_arena_alloc(arena, in->n_tensors, sizeof *out->tensors);
    out->by_name = lvlm_arena_alloc(arena, in->n_tensors, sizeof *out->by_name);
    if (out->tensors == NULL || out->by_name == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < in->n_tensors; i++) {
        out->tensors[i] = in->tensors[i];
        out->by_name[i] = out->tensors + (in->by_name[i] - in->tensors);
        if (lvlm_starts_with(in->tensors[i].name, LVLM_RECORDED_INPUT "pixel_values"))
            TRY(nudge(&out->tensors[i], arena, err));
    }
    return 0;
}

/* ---- comparing ------------------------------------------------------------------ */

static bool wants(void *user, const char *name)
{
    return lvlm_stage_list_find(((const look *)user)->kept, name) != NULL;
}

double lvlm_rounding_explains(const lvlm_replay *r, const lvlm_replay_stage *s)
{
    uint64_t n = 0;
    const bool single = s->is_gradient && lvlm_shape_numel(&n, &s->shape) && n == 1;
    const double own = s->own_error * (single ? LVLM_ROUNDING_SINGLE : 1);
    if (lvlm_coarse_type(r) != NULL) return lvlm_coarse_limit(r, own);
    return own * (r->is_exact ? LVLM_ROUNDING_EXACT : LVLM_ROUNDING);
}

/* Receives a stage of the second computation. */
static int take(void *user, const lvlm_tensor *again, lvlm_error *err)
{
    look *const l = user;
    lvlm_replay_stage *const stage = lvlm_replay_find(l->replay, again->name);
    const lvlm_tensor *const first = lvlm_stage_list_find(l->kept, again->name);
    const lvlm_tensor *const truth = l->first_is_double ? first : again;
    const lvlm_tensor *const other = l->first_is_double ? again : first;
    const lvlm_rows all = { .ids = stage->rows.ids, .mask = stage->rows.mask };
    lvlm_stage_error recorded, own;
    assert(stage != NULL && first != NULL);
    if (stage->verdict != LVLM_VERDICT_OUT)
        return 0; /* a gradient, judged by its scale */
    TRY(lvlm_stage_compare(&recorded, truth, stage->recorded, &stage->rows, false,
                           err));
    TRY(lvlm_stage_compare(&own, other, truth, &all, false, err));
    stage->looked_again = true;
    stage->recorded_error = lvlm_judged_error(stage, &recorded);
    stage->own_error = lvlm_judged_error(stage, &own);
    /* a loss is one number, which may be right by chance: it rounds as logits do */
    if (strcmp(stage->name, "loss") == 0)
        stage->own_error = fmax(stage->own_error, l->own);
    l->own = stage->own_error;
    stage->explained = lvlm_rounding_explains(l->replay, stage);
    if (isfinite(stage->own_error) && isfinite(stage->error) &&
        stage->recorded_error <= stage->explained)
        stage->verdict = LVLM_VERDICT_ROUNDING;
    return 0;
}

/* Is there a stage, and a gradient, to look at again? */
static void find_work(const lvlm_replay *r, const lvlm_stage_list *kept, bool *stages,
                      bool *grads)
{
    *stages = *grads = false;
    for (size_t i = 0; i < r->n_stages; i++) {
        const lvlm_replay_stage *const s = &r->stages[i];
        if (s->verdict != LVLM_VERDICT_OUT ||
            lvlm_stage_list_find(kept, s->name) == NULL)
            continue;
        *stages = true;
        *grads |= s->is_gradient;
    }
}

int lvlm_look_again(lvlm_replay *r, const lvlm_model_options *first,
                    const lvlm_stage_list *kept, lvlm_error *err)
{
    look l = { r, kept, r->compute == LVLM_COMPUTE_F64, 0 };
    const lvlm_stage_sink sink = { .take = take, .wants = wants, .user = &l };
    lvlm_model_options options = *first;
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_checkpoint inputs = *r->recording.checkpoint;
    lvlm_model *model = NULL;
    bool stages, grads;
    int rc = 0;

    find_work(r, kept, &stages, &grads);
    if (!stages) return 0;
    const bool nudges = r->is_exact && lvlm_coarse_type(r) == NULL;
    options.compute =
        r->compute == LVLM_COMPUTE_F64 && !nudges ? LVLM_COMPUTE_F32 : LVLM_COMPUTE_F64;
    options.nudge = nudges;
    options.trains = grads ? lvlm_pass_trains_all : NULL;
    options.check = false; /* the first pass did */
    options.notes = NULL;
    if (nudges) rc = nudge_inputs(&inputs, r->recording.checkpoint, &arena, err);
    if (rc == 0) rc = lvlm_model_open(&model, r->model, &options, err);
    if (rc == 0)
        rc = lvlm_pass_run(model, &inputs, LVLM_RECORDED_INPUT, grads, &sink, err);
    lvlm_model_free(model);
    lvlm_arena_free(&arena);
    return rc;
}
