/* layer_decay.h - smaller learning rates for the earlier blocks of a tower, as BEiT's
 * fine-tuning has them, and Qwen-VL's training.
 *
 *   block i of L                F^(L - i)
 *   before the first block      F^(L + 1): patches, positions, class row, first norm
 *   between blocks i-1 and i    F^(L - i)
 *   after the last block        1, as in connector and language model
 *
 * L counts the blocks that the model uses. */
#ifndef LVLM_RUNTIME_TUNE_LAYER_DECAY_H
#define LVLM_RUNTIME_TUNE_LAYER_DECAY_H

#include "formats/checkpoint/manifest.h"

LVLM_BEGIN_DECLS

/* The factor of a weight's learning rate, for `decay` above 0. */
double lvlm_layer_factor(const lvlm_manifest *manifest, const lvlm_target *target,
                         double decay);

LVLM_END_DECLS

#endif
