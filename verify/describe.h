/* describe.h - what a report says of a model. Private to verify/. */
#ifndef LVLM_VERIFY_DESCRIBE_H
#define LVLM_VERIFY_DESCRIBE_H

#include "verify/replay.h"

LVLM_BEGIN_DECLS

/* Set the family of a replay, the differences, the root digest, and where the rows of
 * its stages are, from the inputs of its recording under names with `prefix`. */
LVLM_MUST_CHECK int lvlm_replay_describe(lvlm_replay *replay, const lvlm_model *model,
                                         const char *prefix, lvlm_error *err);

/* Whose behaviour to compute: what was asked for, else what is recorded, else what was
 * trained; both may be NULL. */
const char *lvlm_replay_reference(const char *asked, const char *recorded);

LVLM_END_DECLS

#endif
