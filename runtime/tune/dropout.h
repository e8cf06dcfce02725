/* dropout.h - what a model's configuration says of dropout, which nothing follows. */
#ifndef LVLM_RUNTIME_TUNE_DROPOUT_H
#define LVLM_RUNTIME_TUNE_DROPOUT_H

#include "formats/checkpoint/manifest.h"

LVLM_BEGIN_DECLS

/* Note every rate above 0 in config.json: training drops only what LoRA's own
 * dropout says. Notes go to the checkpoint's. */
LVLM_MUST_CHECK int lvlm_dropout_note(const lvlm_manifest *manifest, lvlm_error *err);

LVLM_END_DECLS

#endif
