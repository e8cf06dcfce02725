/* config_keys.h - how each key of a config.json is treated.
 *
 * A family's settings list the keys that are followed. A table lists the keys that
 * change nothing. Rotary settings may be in two places and under two names: they must
 * agree. */
#ifndef LVLM_FORMATS_FAMILY_CONFIG_KEYS_H
#define LVLM_FORMATS_FAMILY_CONFIG_KEYS_H

#include "formats/base/notes.h"
#include "formats/family/family.h"

LVLM_BEGIN_DECLS

/* Note every key of `hf_config` that could change a result and is not followed.
 * LVLM_EFORMAT: rotary settings are not supported or contradict each other. */
LVLM_MUST_CHECK int lvlm_config_check(const lvlm_family *family, const cJSON *hf_config,
                                      lvlm_notes *notes, lvlm_error *err);

LVLM_END_DECLS

#endif
