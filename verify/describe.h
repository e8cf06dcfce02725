/* describe.h - what a report says of a model. Private to verify/. */
#ifndef LVLM_VERIFY_DESCRIBE_H
#define LVLM_VERIFY_DESCRIBE_H

#include "verify/replay.h"

LVLM_BEGIN_DECLS

/* Set the family of a replay, its differences from what was trained, its root
 * digest. */
LVLM_MUST_CHECK int lvlm_replay_describe(lvlm_replay *replay, const lvlm_model *model,
                                         lvlm_error *err);

LVLM_END_DECLS

#endif
