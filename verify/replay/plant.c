/* plant.c - plants errors into a model in memory and measures them; see plant.h. */
#include "verify/replay/plant.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "formats/base/text.h"
#include "verify/replay/coarse.h"
#include "verify/replay/replay_parts.h"

/* Significant bits that are left of a matrix. */
enum { BITS = 8, COARSE_BITS = 1 };

/* ---- the weights of a stage ----------------------------------------------------- */

/* Where a stage's own weights are called differently; others have the stage's name. */
static const struct {
    const char *stage, *prefix;
} owners[] = {
    { "vision.patches", "vision.patch." },      { "vision.embed", "vision.positions." },
    { "connector.linear_1", "connector.fc1." }, { "connector.out", "connector." },
    { "text.embed", LVLM_EMBED_TABLE },         { "logits", "text.head." },
};

static bool owns(const char *stage, const char *weight)
{
    for (size_t i = 0; i < sizeof owners / sizeof *owners; i++)
        if (strcmp(owners[i].stage, stage) == 0)
            return lvlm_starts_with(weight, owners[i].prefix);
    const size_t n = strlen(stage);
    return strncmp(weight, stage, n) == 0 && weight[n] == '.';
}

/* The stage's first and last weight, matrices if it has any; NULL: none. */
static void find_weights(const lvlm_target *out[2], const lvlm_manifest *m,
                         const char *stage)
{
    out[0] = out[1] = NULL;
    for (size_t i = 0; i < m->n_targets; i++) {
        const lvlm_target *const t = &m->targets[i];
        if (!lvlm_target_is_stored(t) || !owns(stage, t->name)) continue;
        if (out[0] != NULL && (out[0]->shape.n >= 2) != (t->shape.n >= 2)) {
            if (t->shape.n < 2) continue;
            out[0] = NULL;
        }
        if (out[0] == NULL) out[0] = t;
        out[1] = t;
    }
    /* the connector's output has its last map only */
    if (strcmp(stage, "connector.out") == 0) out[0] = out[1];
}

/* ---- rounding ------------------------------------------------------------------- */

static double keep_bits(double x, int bits)
{
    int exponent;
    const double part = frexp(x, &exponent);
    return ldexp(nearbyint(ldexp(part, bits)), exponent - bits);
}

static double value_at(const void *values, size_t i, bool wide)
{
    return wide ? ((const double *)values)[i] : (double)((const float *)values)[i];
}

/* Round to so many significant bits, or to as many fewer as change something. */
static void round_weight(void *values, size_t n, bool wide, int most)
{
    bool changed = false;
    for (int bits = most; bits > 0 && !changed; bits--)
        for (size_t i = 0; i < n; i++) {
            const double x = value_at(values, i, wide), rounded = keep_bits(x, bits);
            changed |= x != rounded;
            if (wide)
                ((double *)values)[i] = rounded;
            else
                ((float *)values)[i] = (float)rounded;
        }
}

/* ---- passes --------------------------------------------------------------------- */

typedef struct planting {
    const lvlm_replay *replay;
    lvlm_stage_list plain; /* every stage as the model computes it */
    const char *target;    /* the weight that is planted, by its native name */
    const char *stage;     /* the stage that is measured */
    double error;
    bool done;
} planting;

static bool wants(void *user, const char *name)
{
    const planting *const p = user;
    return p->stage != NULL ? strcmp(p->stage, name) == 0
                            : lvlm_replay_find(p->replay, name) != NULL;
}

static int take(void *user, const lvlm_tensor *got, lvlm_error *err)
{
    planting *const p = user;
    if (p->stage == NULL) return lvlm_stage_list_add(&p->plain, got, err);
    const lvlm_replay_stage *const stage = lvlm_replay_find(p->replay, got->name);
    const lvlm_tensor *const plain = lvlm_stage_list_find(&p->plain, got->name);
    const lvlm_rows all = { .ids = stage->rows.ids, .mask = stage->rows.mask };
    lvlm_stage_error found;
    assert(plain != NULL);
    TRY(lvlm_stage_compare(&found, got, plain, &all, false, err));
    p->error = lvlm_judged_error(stage, &found);
    p->done = true;
    return LVLM_ESTOPPED; /* nothing after it is needed */
}

static bool trains(void *user, const lvlm_manifest *m, const lvlm_target *target)
{
    (void)m;
    return strcmp(((const planting *)user)->target, target->name) == 0;
}

/* A forward over the inputs of the recording, up to the stage if there is one. */
static int forward(planting *p, lvlm_model *model, lvlm_error *err)
{
    const lvlm_stage_sink sink = { .take = take, .wants = wants, .user = p };
    p->done = false;
    const int rc = lvlm_model_forward(model, p->replay->recording.checkpoint,
                                      LVLM_RECORDED_INPUT, &sink, err);
    return p->done ? 0 : rc;
}

static int measure(planting *p, const lvlm_target *t, const lvlm_model_options *options,
                   lvlm_error *err)
{
    lvlm_model_options one = *options;
    lvlm_model *model = NULL;
    uint64_t n = 0;
    one.trains = trains;
    one.user = p;
    one.own_weights = true;
    p->target = t->name;
    p->error = NAN;
    TRY(lvlm_model_open(&model, p->replay->model, &one, err));
    void *const values = lvlm_model_weight(model, t->name);
    int rc = 0;
    if (values != NULL && lvlm_shape_numel(&n, &t->shape)) {
        round_weight(values, (size_t)n, one.compute == LVLM_COMPUTE_F64,
                     lvlm_coarse_type(p->replay) != NULL ? COARSE_BITS : BITS);
        rc = forward(p, model, err);
    }
    lvlm_model_free(model);
    return rc;
}

static int measure_stages(double *out, planting *p, const lvlm_manifest *m,
                          const lvlm_model_options *options, lvlm_error *err)
{
    for (size_t i = 0; i < p->replay->n_stages; i++) {
        const lvlm_replay_stage *const stage = &p->replay->stages[i];
        const lvlm_target *weights[2];
        out[i] = NAN;
        if (stage->is_gradient) continue;
        p->stage = stage->name;
        find_weights(weights, m, stage->name);
        for (size_t k = 0; k < 2 && weights[k] != NULL; k++) {
            if (k == 1 && weights[1] == weights[0]) break;
            TRY(measure(p, weights[k], options, err));
            if (p->error > 0) out[i] = fmin(out[i], p->error); /* a number, if any */
        }
    }
    return 0;
}

int lvlm_plant_measure(double *out, const lvlm_replay *replay,
                       const lvlm_replay_options *options, lvlm_error *err)
{
    planting p = { .replay = replay };
    lvlm_model_options plain = lvlm_replay_model_options(replay, options);
    lvlm_model *model = NULL;
    plain.trains = NULL;
    plain.check = false; /* the replay did */
    plain.notes = NULL;
    TRY(lvlm_model_open(&model, replay->model, &plain, err));
    int rc = forward(&p, model, err);
    if (rc == 0) rc = measure_stages(out, &p, lvlm_model_manifest(model), &plain, err);
    lvlm_model_free(model);
    lvlm_stage_list_free(&p.plain);
    return rc;
}
