/* trainer_history.h - what a run of training was, for its state and its model. Private
 * to runtime/tune/. */
#ifndef LVLM_RUNTIME_TUNE_TRAINER_HISTORY_H
#define LVLM_RUNTIME_TUNE_TRAINER_HISTORY_H

#include "runtime/tune/trainer.h"

LVLM_BEGIN_DECLS

/* The settings that every step depends on (trainer_state.c). *out is owned:
 * lvlm_json_free, also after a failure. */
LVLM_MUST_CHECK int trainer_settings(cJSON **out, const lvlm_trainer *trainer,
                                     lvlm_error *err);

/* The step of the model's history (history.h). Owned as above. */
LVLM_MUST_CHECK int trainer_history(cJSON **out, const lvlm_trainer *trainer,
                                    lvlm_error *err);

LVLM_END_DECLS

#endif
