/* decay.h - which weights decay.
 *
 * The rule of the reference's Trainer (get_decay_parameter_names), applied to the names
 * that its modules have: all except biases, the weights of LayerNorm, and what is
 * called a norm. Gates and single vectors do decay, and so do RMS norms whose name does
 * not say what they are (norm1, ln_q, ln_1). */
#ifndef LVLM_RUNTIME_TUNE_DECAY_H
#define LVLM_RUNTIME_TUNE_DECAY_H

#include "formats/checkpoint/manifest.h"

LVLM_BEGIN_DECLS

bool lvlm_decays(const lvlm_manifest *manifest, const lvlm_target *target);

LVLM_END_DECLS

#endif
