/* describe.h - the description of a model in a report. Private to verify/. */
#ifndef LVLM_VERIFY_DESCRIBE_H
#define LVLM_VERIFY_DESCRIBE_H

#include "verify/replay.h"

LVLM_BEGIN_DECLS

/* Set the family of a replay, its differences, root digest and places; the latter from
 * the inputs of its recording, whose names begin with `prefix`. */
LVLM_MUST_CHECK int lvlm_replay_describe(lvlm_replay *replay, const lvlm_model *model,
                                         const char *prefix, lvlm_error *err);

/* Whose behaviour to compute: the requested one, else the recorded one, else "trained".
 * Both may be NULL. */
const char *lvlm_replay_reference(const char *asked, const char *recorded);

LVLM_END_DECLS

#endif
