/* slopes.h - gradients of whole models compared with the slope of their loss. */
#ifndef LVLM_TESTS_REPLAY_SLOPES_H
#define LVLM_TESTS_REPLAY_SLOPES_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/model.h"
#include "tests/convert/converted.h"
#include "tests/support/gradcheck.h"

static inline bool trains_everything(void *user, const lvlm_manifest *manifest,
                                     const lvlm_target *target)
{
    (void)user, (void)manifest, (void)target;
    return true;
}

/* ---- the loss ------------------------------------------------------------------- */

static inline int take_loss(void *loss, const lvlm_tensor *stage, lvlm_error *err)
{
    (void)err;
    memcpy(loss, stage->data, sizeof(double));
    return 0;
}

static inline bool is_loss(void *user, const char *name)
{
    (void)user;
    return strcmp(name, "loss") == 0;
}

/* The loss of a recording's inputs in evaluation; the model computes in double. */
static inline double evaluated_loss(lvlm_model *model, const lvlm_checkpoint *golden)
{
    double loss = NAN;
    const lvlm_stage_sink sink = { .take = take_loss, .wants = is_loss, .user = &loss };
    lvlm_error err;
    if (lvlm_model_forward(model, golden, "in.", &sink, &err) < 0)
        fail_msg("%s", err.text);
    return loss;
}

/* The mean loss of a pass that trains, which adds to the gradients: with dropout, the
 * same each time. */
static inline double trained_loss(lvlm_model *model, const lvlm_checkpoint *golden)
{
    lvlm_model_step found;
    lvlm_error err;
    if (lvlm_model_backward(model, &found, golden, "in.", 0, &err) < 0)
        fail_msg("%s", err.text);
    return found.loss / (double)found.n_targets;
}

/* ---- its slope ------------------------------------------------------------------ */

typedef double model_loss(lvlm_model *model, const lvlm_checkpoint *golden);

/* Along a random direction u of length 1: the relative difference of <gradient, u> and
 * the slope of `loss`, from four points. Weight `name` is restored. */
static inline double slope_error(model_loss *loss, lvlm_model *model,
                                 const lvlm_checkpoint *golden, const char *name,
                                 const lvlm_tensor *gradient, uint64_t seed)
{
    static const double step = 2e-4;  /* truncation ~ step^4, rounding ~ 1e-15 / step */
    static const double least = 1e-3; /* slope to divide by */
    static const double points[4] = { 1, -1, 2, -2 };
    const size_t n = (size_t)lvlm_tensor_numel(gradient);
    double *const w = lvlm_model_weight(model, name);
    double *const origin = malloc(2 * n * sizeof *origin), *const u = origin + n;
    double at[4];
    assert_non_null(origin);
    memcpy(origin, w, n * sizeof *origin);
    gradcheck_fill(u, n, seed);
    const double length = sqrt(gradcheck_dot(u, u, n));
    for (size_t i = 0; i < n; i++) u[i] /= length;
    const double found =
        gradcheck_dot((const double *)(const void *)gradient->data, u, n);
    for (size_t k = 0; k < 4; k++) {
        for (size_t i = 0; i < n; i++) w[i] = origin[i] + points[k] * step * u[i];
        at[k] = loss(model, golden);
    }
    memcpy(w, origin, n * sizeof *origin);
    free(origin);
    const double slope = (8 * (at[0] - at[1]) - (at[2] - at[3])) / (12 * step);
    return fabs(slope - found) / fmax(least, fabs(slope));
}

#endif
