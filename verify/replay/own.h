/* own.h - the error that a stage makes by itself, apart from the error that it was
 * given. Private to verify/.
 *
 *   whole pass   pixels, ids -> ... -> stage before -> stage      errors add up
 *   by itself               recorded stage before -> stage        its own error
 *
 * In one further pass everything that is recorded is given (lvlm_stage_sink.gives), so
 * every stage is computed from recorded rows, with the positions, masks and order of
 * rows of the whole pass. */
#ifndef LVLM_VERIFY_REPLAY_OWN_H
#define LVLM_VERIFY_REPLAY_OWN_H

#include "verify/replay/replay.h"

LVLM_BEGIN_DECLS

/* Set `share` of the stages that fail and have values, and replay->cause; if `explains`
 * also replay->why, unless the replay agrees with another reference. Of gradients alone
 * both are set. The model is opened with `options`, not checked again. Nothing is
 * computed if no such stage fails. */
LVLM_MUST_CHECK int lvlm_own_errors(lvlm_replay *replay,
                                    const lvlm_model_options *options, bool explains,
                                    lvlm_error *err);

/* The largest error of its own that rounding explains: its band, or more if a second
 * look found so. */
double lvlm_own_limit(const lvlm_replay_stage *stage);
/* Is what was found of the stage, computed by itself, within that, and the divergence
 * of logits within their band? NAN is not. */
bool lvlm_own_agrees(const lvlm_replay_stage *stage, const lvlm_stage_error *found);

/* A pass in which everything that is recorded is given. */
typedef struct lvlm_given_pass {
    const lvlm_replay *replay;
    /* Which of the recorded stages are computed and taken. */
    bool (*wants)(void *user, const lvlm_replay_stage *stage);
    int (*take)(void *user, const lvlm_replay_stage *stage, const lvlm_tensor *got,
                lvlm_error *err);
    /* Called for every stage that the inputs lead to, in order, before anything is
     * computed; may be called again. NULL: nobody asks. */
    void (*meets)(void *user, const char *name, const lvlm_replay_stage *stage);
    /* Changes what is given of a stage; `given` is its tensor in the pass, which has
     * `values`. NULL: it is as recorded. */
    void (*alters)(void *user, const lvlm_replay_stage *stage, const lvlm_tensor *given,
                   void *values);
    void *user;
} lvlm_given_pass;

LVLM_MUST_CHECK int lvlm_given_pass_run(const lvlm_given_pass *pass, lvlm_model *model,
                                        lvlm_error *err);

/* Can what follows be computed from this stage: are all its rows recorded, in the shape
 * that this model has? */
bool lvlm_is_givable(const lvlm_replay_stage *stage);

LVLM_END_DECLS

#endif
