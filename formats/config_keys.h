/* config_keys.h - what becomes of each key of a config.json.
 *
 * A family's settings say which keys are followed; a table, which others change
 * nothing. Rotary settings are written in two places and under two names: they have to
 * agree. */
#ifndef LVLM_FORMATS_CONFIG_KEYS_H
#define LVLM_FORMATS_CONFIG_KEYS_H

#include "formats/base/notes.h"
#include "formats/family.h"

LVLM_BEGIN_DECLS

/* Note every key of `hf_config` that could change a result and is not followed.
 * LVLM_EFORMAT: rotary settings that are not supported, or contradict each other. */
LVLM_MUST_CHECK int lvlm_config_check(const lvlm_family *family, const cJSON *hf_config,
                                      lvlm_notes *notes, lvlm_error *err);

LVLM_END_DECLS

#endif
