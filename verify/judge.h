/* judge.h - decides the verdict of a stage from its error. Private to verify/. */
#ifndef LVLM_VERIFY_JUDGE_H
#define LVLM_VERIFY_JUDGE_H

#include "verify/replay.h"

LVLM_BEGIN_DECLS

/* The error of a comparison by which a stage or gradient is judged. */
double lvlm_judged_error(const lvlm_replay_stage *stage, const lvlm_stage_error *found);

/* Set the figures and the verdict of a stage from what was found. `exact`: both sides
 * are in double. */
void lvlm_judge(lvlm_replay_stage *stage, bool exact);

/* Judge the gradients, which are stages [first, n), relative to the scale of all of
 * them: the relative error of a gradient that is only rounding means nothing, so its
 * norm counts as at least a thousandth of the average gradient of its size. */
void lvlm_judge_gradients(lvlm_replay *replay, size_t first);

/* Count the stages that fail, and find the first one. */
void lvlm_judge_all(lvlm_replay *replay);

LVLM_END_DECLS

#endif
