/* other_references.h - whose behaviour does a recording show that does not say so?
 * Private to verify/. */
#ifndef LVLM_VERIFY_REPLAY_OTHER_REFERENCES_H
#define LVLM_VERIFY_REPLAY_OTHER_REFERENCES_H

#include "verify/replay/replay.h"

LVLM_BEGIN_DECLS

/* If a replay failed, and neither the recording nor the caller says whose behaviour to
 * compute, try every other behaviour of the family until one agrees at every stage:
 * replay->agrees_with, and replay->n_tried how many computed something else. Only one
 * that makes the first stage that fails agree, computed from the recorded one before
 * it, is replayed as a whole. `options` are those of the replay. */
LVLM_MUST_CHECK int lvlm_try_references(lvlm_replay *replay,
                                        const lvlm_replay_options *options,
                                        lvlm_error *err);

LVLM_END_DECLS

#endif
