/* coverage.h - what a replay leaves unproven, in sentences.
 *
 *   not compared    stages that the model computes and the recording lacks, rows that
 *                   were left out, padding, and everything before and after tensors
 *   not exercised   parts of the model that these inputs do not reach, or to which they
 *                   are blind: no image, no padding, a text shorter than a window
 *
 * Both follow from the recording's inputs and the model's configuration. Private to
 * verify/. */
#ifndef LVLM_VERIFY_REPLAY_COVERAGE_H
#define LVLM_VERIFY_REPLAY_COVERAGE_H

#include "verify/replay/replay.h"

LVLM_BEGIN_DECLS

/* Remember that the model computes stage `name`, which is not recorded; may be called
 * several times for one. */
void lvlm_coverage_skip(lvlm_replay *replay, const char *name);

/* Fill replay->not_compared and not_exercised after a pass over the inputs.
 * LVLM_ENOMEM. */
LVLM_MUST_CHECK int lvlm_coverage_find(lvlm_replay *replay, const lvlm_model *model,
                                       lvlm_error *err);

/* The same of the inputs by themselves (coverage_inputs.c). */
LVLM_MUST_CHECK int lvlm_coverage_inputs(lvlm_replay *replay, const lvlm_model *model,
                                         lvlm_error *err);

LVLM_END_DECLS

#endif
