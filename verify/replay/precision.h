/* precision.h - how far a fast mode is from our own double, on one model and input. */
#ifndef LVLM_VERIFY_REPLAY_PRECISION_H
#define LVLM_VERIFY_REPLAY_PRECISION_H

#include "verify/replay/replay.h"

LVLM_BEGIN_DECLS

/* Compute every stage in double, keep it (8 bytes per value), compute it again in
 * options->compute (NULL: f32), and compare. No reference is needed: `inputs` is a
 * recording or the inputs of lvlm-run forward, with labels if gradients are requested.
 * The result is a replay without a recording (is_measure): stages have no bands, so
 * options->tolerance must be NULL, and no verdicts, and only one that is not finite
 * fails. LVLM_ECHECK names a tensor of the model that is damaged. On success free with
 * lvlm_replay_free. */
LVLM_MUST_CHECK int lvlm_precision_run(lvlm_replay *out, const char *model,
                                       const char *inputs,
                                       const lvlm_replay_options *options,
                                       lvlm_error *err);

LVLM_END_DECLS

#endif
