/* packed.h - checkpoints whose weights a method of quantisation has packed. */
#ifndef LVLM_FORMATS_PACKED_H
#define LVLM_FORMATS_PACKED_H

#include "formats/checkpoint.h"

LVLM_BEGIN_DECLS

/* Packed weights are no longer the matrices of the family's table. LVLM_EFORMAT names
 * the method, how it was recognised and what to do; 0: nothing is packed. Settings of a
 * method beside tensors that are all plain are left over from before: a note. */
LVLM_MUST_CHECK int lvlm_packed_refuse(const lvlm_checkpoint *checkpoint,
                                       lvlm_error *err);

/* The same by the configuration only, for weights that cannot be read. */
LVLM_MUST_CHECK int lvlm_packed_settings_refuse(const lvlm_checkpoint *checkpoint,
                                                lvlm_error *err);

LVLM_END_DECLS

#endif
