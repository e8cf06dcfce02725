/* replay_stages.h - what a recording holds, in the order in which it is computed.
 * Private to verify/. */
#ifndef LVLM_VERIFY_REPLAY_STAGES_H
#define LVLM_VERIFY_REPLAY_STAGES_H

#include "verify/replay.h"

LVLM_BEGIN_DECLS

/* The recorded stages to replay->stages, each with its bands. */
LVLM_MUST_CHECK int lvlm_replay_list_stages(lvlm_replay *replay, lvlm_error *err);

/* The recorded gradients after them, as a backward pass computes them: the weight that
 * is used last comes first; then those of tensors that the model's source does not
 * have. LVLM_EFORMAT: none is recorded. */
LVLM_MUST_CHECK int lvlm_replay_list_gradients(lvlm_replay *replay,
                                               const lvlm_manifest *manifest,
                                               lvlm_error *err);

/* NULL: not recorded. */
lvlm_replay_stage *lvlm_replay_find(const lvlm_replay *replay, const char *name);

LVLM_END_DECLS

#endif
