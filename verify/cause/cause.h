/* cause.h - why a stage has an error of its own: what feeds it, which rows and channels
 * carry the error, what its weights show, and which known mistake, undone, makes the
 * error vanish.
 *
 * A mistake is undone in a variant of the model (variant.h): other settings, other
 * values of some tensors. The stage is computed with it by itself, from recorded rows
 * (verify/replay/own.h), so a trial costs one block. Only settings.c, exchanges.c,
 * orders.c and factors.c know mistakes of a model, most of them as tables, and
 * slope_*.c those of gradients and losses. */
#ifndef LVLM_VERIFY_CAUSE_CAUSE_H
#define LVLM_VERIFY_CAUSE_CAUSE_H

#include "verify/replay/replay.h"

LVLM_BEGIN_DECLS

/* A tensor from which the stage is computed. */
typedef struct lvlm_cause_tensor {
    const char *name;   /* native */
    const char *source; /* in the checkpoint that was converted; NULL: it has none */
    lvlm_dtype dtype;
    lvlm_shape shape;
    const char *digest; /* SHA-256 of its bytes; NULL: none is recorded */
} lvlm_cause_tensor;

/* A mistake that was undone. */
typedef struct lvlm_cause_candidate {
    const char *mistake;  /* "rope_theta": from the tables */
    const char *sentence; /* what to look at, in the checkpoint's own words */
    double error;         /* that the stage has without it */
    bool agrees;          /* which is within its band */
    size_t n_settled;     /* of an agreeing one: so many of the stages with an error of
                             their own, or of the gradients that differ, agree without
                             it, this one too */
    size_t n_alike;       /* other ways to undo it with the same effect, which the
                             sentence names, at most three */
} lvlm_cause_candidate;

/* All in the replay's arena. */
typedef struct lvlm_cause {
    const lvlm_replay_stage *stage;
    lvlm_cause_tensor *tensors;
    size_t n_tensors;
    const char **signs; /* sentences on rows, channels and patterns of the error */
    size_t n_signs;
    const char **weights; /* sentences on what the tensors themselves show */
    size_t n_weights;
    /* Those that agree; if none does the one that came nearest, if it is nearer than
     * the model as it is. */
    lvlm_cause_candidate *candidates;
    size_t n_candidates;
    size_t n_tried, n_left_out; /* the latter as the stage is too large to try all */
    size_t n_passes; /* of gradients: whole backward passes that were computed */
    size_t n_causes; /* stages, or gradients, with an error of their own */
} lvlm_cause;

/* Set replay->why for replay->cause. `model` is opened with `options`. */
LVLM_MUST_CHECK int lvlm_cause_find(lvlm_replay *replay, const lvlm_model *model,
                                    const lvlm_model_options *options, lvlm_error *err);

/* The same of a replay whose stages all agree, and whose gradients do not (slope.h);
 * sets replay->cause and the shares of gradients too. Mistakes are looked for if
 * `explains`. */
LVLM_MUST_CHECK int lvlm_cause_of_gradients(lvlm_replay *replay,
                                            const lvlm_model *model,
                                            const lvlm_model_options *options,
                                            bool explains, lvlm_error *err);

LVLM_END_DECLS

#endif
