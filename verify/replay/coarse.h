/* coarse.h - recordings that were computed in bf16 or f16, and models whose weights
 * were rounded to one of them at conversion.
 *
 * Neither can be within a band of float32. Rounding accumulates through a model in the
 * same way whatever its unit is: where our float32 is e from double, a computation in
 * bf16, whose unit is 2^16 times as large, is 2^16 e from it; of f16 2^13. Each stage
 * has its own e, measured on this model and these inputs, so that a difference which is
 * larger than that rounding is found (bands.h). Private to verify/. */
#ifndef LVLM_VERIFY_REPLAY_COARSE_H
#define LVLM_VERIFY_REPLAY_COARSE_H

#include "verify/replay/replay.h"

LVLM_BEGIN_DECLS

/* Find out whether the recording, and whether the model, are of that kind: set
 * replay->coarse. */
void lvlm_coarse_find(lvlm_replay *replay, const lvlm_model *model);

/* The coarser type of the two; NULL: neither is coarse. */
const char *lvlm_coarse_type(const lvlm_replay *replay);

/* How far a computation in that type may be from double, if ours in float32 is
 * `own_error` from it, by rounding; 0: neither is coarse. */
double lvlm_coarse_limit(const lvlm_replay *replay, double own_error);

LVLM_END_DECLS

#endif
