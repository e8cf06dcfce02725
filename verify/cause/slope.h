/* slope.h - gradients that differ although every stage agrees: what the sources of
 * their cause share. Private to verify/cause.
 *
 * What flows back is not recorded, so a gradient cannot be computed from a recorded
 * one. But what flows back through a tensor is right if the gradients of earlier ones
 * are: then a wrong gradient is wrong by itself. Where all earlier ones are wrong too,
 * the first of them from the head down is.
 *
 * A recorded gradient is of a tensor of the source, which may have several native
 * parts. Each of these is a slope. */
#ifndef LVLM_VERIFY_CAUSE_SLOPE_H
#define LVLM_VERIFY_CAUSE_SLOPE_H

#include "verify/cause/trial.h"
#include "verify/metrics.h"

LVLM_BEGIN_DECLS

typedef struct slope {
    const lvlm_target *target;
    lvlm_replay_stage *stage; /* the recorded gradient */
    lvlm_transform transform; /* from that to this part */
    bool fits;                /* it has the shape of the source's tensor */
    size_t n, R, C;           /* values, as rows and columns */
    size_t place;             /* in a forward; those of siblings are the same */
    double least;             /* as of the stage */
    lvlm_distance distance;   /* computed from recorded values */
    double error;
    bool wrong, own;
    bool agrees; /* in the trial that was judged last */
} slope;

typedef struct slopes {
    cause_session s; /* s.changed is judged by the gradients */
    slope *at;       /* in order of a forward */
    size_t n;
    lvlm_model *model; /* with its gradients as they are */
    lvlm_model *other; /* the same, for other losses; NULL until there are some */
    /* Room for the largest slope: computed, recorded, and anything.  (most) each */
    double *got, *want, *room;
    void *raw; /* (most) of any type */
    size_t most;
    size_t n_wrong; /* recorded gradients that differ */
    size_t most_passes;
} slopes;

/* Put the values of a slope into l->got, of the gradients that `model` has, and
 * l->want. False: it has none, or they do not fit. */
bool slope_load(const slopes *l, const slope *x, const lvlm_model *model);
/* How far l->got, times `factor`, is from l->want. */
double slope_error(const slopes *l, const slope *x, double factor);
/* The largest error that is rounding. */
double slope_limit(const slope *x);

/* Judge the gradients that `model` has, times `factor`. */
void slopes_judge(const slopes *l, cause_finding *out, const lvlm_model *model,
                  double factor);
/* Of the recorded gradients that differ those of which every slope agrees. */
size_t slopes_count_settled(const slopes *l);
/* Is there time for `n` more passes? */
bool slopes_can_pass(const slopes *l, size_t n);
/* Add the gradients of a whole forward and backward to those that `model` has; `scale`
 * as in lvlm_model_backward. What the model refuses is LVLM_EFORMAT. */
LVLM_MUST_CHECK int slopes_pass(slopes *l, lvlm_model *model,
                                const lvlm_checkpoint *inputs, double scale,
                                lvlm_error *err);
/* A model of this manifest that trains everything. */
LVLM_MUST_CHECK int slopes_bind(const slopes *l, lvlm_model **out,
                                const lvlm_manifest *manifest, const char *reference,
                                lvlm_error *err);

/* slope_signs.c: sentences on the gradients that differ, and on the cause. */
LVLM_MUST_CHECK int slopes_find_signs(slopes *l, lvlm_error *err);

/* slope_values.c: what a recorded gradient has in place of ours: zeros, a multiple,
 * another order, that of another tensor, other rows. */
LVLM_MUST_CHECK int slopes_try_values(slopes *l, lvlm_error *err);
/* slope_losses.c: the loss times a number, and other losses. */
LVLM_MUST_CHECK int slopes_try_scale(slopes *l, lvlm_error *err);
LVLM_MUST_CHECK int slopes_try_losses(slopes *l, lvlm_error *err);
/* slope_ties.c: a tied head counted otherwise, other references, dropout. */
LVLM_MUST_CHECK int slopes_try_ties(slopes *l, lvlm_error *err);

LVLM_END_DECLS

#endif
