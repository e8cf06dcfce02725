/* replay_stages.h - the contents of a recording, in order of computation. Private to
 * verify/. */
#ifndef LVLM_VERIFY_REPLAY_STAGES_H
#define LVLM_VERIFY_REPLAY_STAGES_H

#include "verify/replay.h"

LVLM_BEGIN_DECLS

/* List the recorded stages in replay->stages, with their bands. */
LVLM_MUST_CHECK int lvlm_replay_list_stages(lvlm_replay *replay, lvlm_error *err);

/* Append the recorded gradients in the order of a backward pass, that of the last
 * weight first; then those of tensors that the model's source does not have.
 * LVLM_EFORMAT: none is recorded. */
LVLM_MUST_CHECK int lvlm_replay_list_gradients(lvlm_replay *replay,
                                               const lvlm_manifest *manifest,
                                               lvlm_error *err);

/* NULL: not recorded. */
lvlm_replay_stage *lvlm_replay_find(const lvlm_replay *replay, const char *name);

LVLM_END_DECLS

#endif
