/* plant.h - the smallest error that a band must not hide, measured on a model: for each
 * stage, one of its own matrices rounded. Private to verify/. */
#ifndef LVLM_VERIFY_REPLAY_PLANT_H
#define LVLM_VERIFY_REPLAY_PLANT_H

#include "verify/replay/replay.h"

LVLM_BEGIN_DECLS

/* Round the first matrix of a stage, and then its last, to 8 significant bits, as bf16
 * has (to fewer if that changes nothing; to one for a recording in bf16 or f16, which
 * is itself off by as much as that), in memory, compute the stage from the inputs of
 * `replay` up to there, and keep the smaller of the two errors that follow. NAN where a
 * stage has no weights of its own, and for gradients. Each matrix costs a forward up to
 * its stage.  out (replay->n_stages) */
LVLM_MUST_CHECK int lvlm_plant_measure(double *out, const lvlm_replay *replay,
                                       const lvlm_replay_options *options,
                                       lvlm_error *err);

LVLM_END_DECLS

#endif
