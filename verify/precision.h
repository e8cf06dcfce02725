/* precision.h - how far a fast mode is from our own double, on one model and input. */
#ifndef LVLM_VERIFY_PRECISION_H
#define LVLM_VERIFY_PRECISION_H

#include "verify/replay.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_precision_options {
    lvlm_compute compute; /* the mode that is measured */
    size_t threads;
    const char *reference; /* NULL: what the inputs say, else "trained" */
    bool grads;            /* gradients too: there are labels */
    void (*progress)(void *user, size_t done, size_t total); /* stages; may be NULL */
    void *user;
    void (*checking)(void *user, uint64_t done, uint64_t total); /* may be NULL */
    void *checking_user; /* as lvlm_model_options has both */
    lvlm_notes *notes;   /* as lvlm_replay_options.notes */
} lvlm_precision_options;

/* Compute every stage in double, keep it (8 bytes per value), compute it again in the
 * mode, and compare. No reference is needed: `inputs` is a recording or the inputs of
 * lvlm-run forward. The result is a replay without a recording (is_measure): stages
 * have no bands and no verdicts, and only one that is not finite fails. LVLM_ECHECK
 * names a tensor of the model that is damaged. On success free with
 * lvlm_replay_free. */
LVLM_MUST_CHECK int lvlm_precision_run(lvlm_replay *out, const char *model,
                                       const char *inputs,
                                       const lvlm_precision_options *options,
                                       lvlm_error *err);

LVLM_END_DECLS

#endif
