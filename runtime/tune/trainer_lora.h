/* trainer_lora.h - a trainer's adapter. Private to trainer.c. */
#ifndef LVLM_RUNTIME_TUNE_TRAINER_LORA_H
#define LVLM_RUNTIME_TUNE_TRAINER_LORA_H

#include "runtime/tune/trainer.h"

LVLM_BEGIN_DECLS

/* Open the model at `path` with the adapter of options->lora and ->adapter. */
int trainer_lora_open(lvlm_trainer *t, const char *path, lvlm_error *err);
/* Append the adapter's factors, if there is one, to t->tensors, which has room. */
int trainer_lora_list(lvlm_trainer *t, lvlm_error *err);
/* What the adapter's dropout draws from in the next batch: it depends only on seed,
 * step and batch. */
uint64_t trainer_lora_noise(const lvlm_trainer *t);

/* Add what the adapter's steps depend on to the settings of a state. */
int trainer_lora_settings(cJSON *settings, const lvlm_trainer *t, lvlm_error *err);

/* Set the learning rate, the decay and needs_image of a tensor that is trained for the
 * weight `target` (trainer.c). */
void trainer_set_rates(const lvlm_trainer *t, lvlm_trained *trained,
                       const lvlm_target *target);

LVLM_END_DECLS

#endif
