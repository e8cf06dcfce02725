/* second_look.h - decides whether a stage outside of its band differs by rounding.
 * Private to verify/. */
#ifndef LVLM_VERIFY_SECOND_LOOK_H
#define LVLM_VERIFY_SECOND_LOOK_H

#include "runtime/collect.h"
#include "verify/replay.h"

LVLM_BEGIN_DECLS

/* Compute the stages that are out of their bands once more and compare three results at
 * each: what is recorded, our double, and our other computation.
 *
 *   computed in       our double   our other computation
 *   f32               the second   the first
 *   f64, recorded f32 the first    the second, in f32
 *   f64, both double  the first    the second, every input moved by its last bit
 *
 * A recording that is at most a few times (bands.h) as far from our double as the other
 * computation is differs by rounding. `kept` has these stages as they were computed
 * first, with `options`. */
LVLM_MUST_CHECK int lvlm_look_again(lvlm_replay *replay,
                                    const lvlm_model_options *options,
                                    const lvlm_stage_list *kept, lvlm_error *err);

LVLM_END_DECLS

#endif
