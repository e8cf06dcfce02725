/* packed.h - refuses checkpoints with quantised, packed weights. */
#ifndef LVLM_FORMATS_CHECKPOINT_PACKED_H
#define LVLM_FORMATS_CHECKPOINT_PACKED_H

#include "formats/container/contents.h"

LVLM_BEGIN_DECLS

/* 0 if no weight is packed. LVLM_EFORMAT names the quantisation method, how it was
 * recognised and what to do. A method in config.json while all tensors are plain is a
 * leftover and only noted. */
LVLM_MUST_CHECK int lvlm_packed_refuse(const lvlm_checkpoint *checkpoint,
                                       lvlm_error *err);

/* The same from the configuration only, for weights that cannot be read. */
LVLM_MUST_CHECK int lvlm_packed_settings_refuse(const lvlm_checkpoint *checkpoint,
                                                lvlm_error *err);

LVLM_END_DECLS

#endif
