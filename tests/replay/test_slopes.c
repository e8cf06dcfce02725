/* test_slopes.c - the gradient of every tensor of every fixture compared with finite
 * differences of the loss, in double.
 *
 *   fixture x reference -> native file -> backward -> for each tensor a random
 *   direction u of length 1: the slope of loss(w + t u), from four points, against
 *   <gradient, u> */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/model.h"
#include "tests/convert/converted.h"
#include "tests/support/fixtures.h"
#include "tests/support/gradcheck.h"
#include "tests/support/scratch.h"

static const double step = 2e-4; /* truncation ~ step^4, rounding ~ 1e-15 / step */

#define BAND 1e-6       /* relative; observed 5.9e-8, gcc 12, OpenBLAS 0.3.21 */
#define LEAST_BASE 1e-3 /* the least slope to divide by */

static bool everything(void *user, const lvlm_manifest *manifest,
                       const lvlm_target *target)
{
    (void)user, (void)manifest, (void)target;
    return true;
}

static int take(void *loss, const lvlm_tensor *stage, lvlm_error *err)
{
    (void)err;
    memcpy(loss, stage->data, sizeof(double));
    return 0;
}

static bool is_loss(void *user, const char *name)
{
    (void)user;
    return strcmp(name, "loss") == 0;
}

typedef struct line {
    lvlm_model *model;
    const lvlm_checkpoint *golden;
    double *w;                /* (n) the tensor */
    const double *origin, *u; /* (n) */
    size_t n;
} line;

/* The loss at w = origin + t u. */
static double loss_at(const line *l, double t)
{
    double loss = NAN;
    const lvlm_stage_sink sink = { .take = take, .wants = is_loss, .user = &loss };
    lvlm_error err;
    for (size_t i = 0; i < l->n; i++) l->w[i] = l->origin[i] + t * l->u[i];
    if (lvlm_model_forward(l->model, l->golden, "in.", &sink, &err) < 0)
        fail_msg("%s", err.text);
    return loss;
}

/* Relative difference of slope and <gradient, u>.  gradient (n) */
static double error_of(line *l, const double *gradient, uint64_t seed)
{
    double *const origin = malloc(2 * l->n * sizeof *origin);
    double *const u = origin + l->n;
    assert_non_null(origin);
    memcpy(origin, l->w, l->n * sizeof *origin);
    gradcheck_fill(u, l->n, seed);
    const double length = sqrt(gradcheck_dot(u, u, l->n));
    for (size_t i = 0; i < l->n; i++) u[i] /= length;
    l->origin = origin, l->u = u;
    const double slope = (8 * (loss_at(l, step) - loss_at(l, -step)) -
                          (loss_at(l, 2 * step) - loss_at(l, -2 * step))) /
                         (12 * step);
    const double found = gradcheck_dot(gradient, u, l->n);
    memcpy(l->w, origin, l->n * sizeof *origin);
    free(origin);
    return fabs(slope - found) / fmax(LEAST_BASE, fabs(slope));
}

static void check_all(lvlm_model *model, const lvlm_checkpoint *golden,
                      const fixture *f)
{
    const lvlm_manifest *const m = lvlm_model_manifest(model);
    lvlm_model_step found;
    lvlm_error err;
    size_t n_checked = 0;
    if (lvlm_model_backward(model, &found, golden, "in.", 0, &err) < 0)
        fail_msg("%s: %s", f->name, err.text);
    for (size_t i = 0; i < m->n_targets; i++) {
        const char *const name = m->targets[i].name;
        lvlm_tensor g;
        if (!lvlm_model_gradient(model, &g, name)) continue;
        line l = { .model = model, .golden = golden };
        l.w = lvlm_model_weight(model, name);
        l.n = (size_t)lvlm_tensor_numel(&g);
        const double error =
            error_of(&l, (const double *)(const void *)g.data, ++n_checked);
        if (!(error <= BAND))
            fail_msg("%s: %s: relative error of its slope %.2e", f->name, name, error);
    }
    assert_true(n_checked >= 33); /* the smallest model has so many */
}

/* Checks the model as `reference` computes it. */
static void check_as(const char *native, const fixture *f, const char *reference)
{
    const lvlm_model_options options = { .compute = LVLM_COMPUTE_F64,
                                         .threads = 1,
                                         .reference = reference,
                                         .trains = everything,
                                         .own_weights = true };
    lvlm_model *model = NULL;
    lvlm_checkpoint *golden = NULL;
    lvlm_error err;
    if (lvlm_model_open(&model, native, &options, &err) < 0 ||
        lvlm_checkpoint_open(&golden, f->golden, NULL, &err) < 0)
        fail_msg("%s: %s", f->name, err.text);
    check_all(model, golden, f);
    lvlm_checkpoint_close(golden);
    lvlm_model_free(model);
}

/* Long texts would take minutes, and beyond its training length Qwen-VL computes
 * another loss in evaluation; their gradients are compared with recorded ones. */
static void every_gradient_is_the_slope_of_the_loss(void **state)
{
    scratch scratch_dir, *const s = &scratch_dir;
    fixtures all;
    (void)state;
    scratch_make(s);
    fixtures_open(&all);
    for (size_t i = 0; i < all.n; i++) {
        const fixture *const f = &all.at[i];
        const char *const native = scratch_path(s, "model.lvlm");
        if (f->is_long) continue;
        native_convert(f->model, native);
        for (size_t k = 0; k < f->n_references; k++)
            check_as(native, f, f->references[k]);
    }
    fixtures_close(&all);
    scratch_remove(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gradient_is_the_slope_of_the_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
