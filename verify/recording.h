/* recording.h - what a recording and the bands for it say about themselves. */
#ifndef LVLM_VERIFY_RECORDING_H
#define LVLM_VERIFY_RECORDING_H

#include "verify/replay.h"

LVLM_BEGIN_DECLS

/* Note what of a recording is compared with nothing, gradients where `grads` does not
 * ask for them among it, metadata that nothing follows, and a reference that was never
 * released; `family` is the model's. */
LVLM_MUST_CHECK int lvlm_recording_check(const lvlm_checkpoint *recording,
                                         const char *family, bool grads,
                                         lvlm_notes *notes, lvlm_error *err);

/* Bands from a file, { STAGE or GLOB: band, ... }: of each stage the first that fits
 * counts, and of the divergence of logits the first that fits "logits.kl"; without one
 * it grows as the logits' band does. `path` may be NULL. LVLM_EFORMAT: it is not such
 * an object, or a pattern fits no stage that there is. */
LVLM_MUST_CHECK int lvlm_tolerance_read(lvlm_replay *replay, const char *path,
                                        lvlm_error *err);

LVLM_END_DECLS

#endif
