/* config_words.h - settings as config.json calls them, for messages. */
#ifndef LVLM_FORMATS_FAMILY_CONFIG_WORDS_H
#define LVLM_FORMATS_FAMILY_CONFIG_WORDS_H

#include "formats/base/strbuf.h"
#include "formats/family/family.h"

LVLM_BEGIN_DECLS

/* Append `text` with each canonical setting in it as config.json calls it: the first of
 * the setting's keys that `hf_config` (may be NULL) has, else its first key.
 *
 *   "text.heads*text.head_dim" -> "text_config.num_attention_heads*8"
 *
 * A setting that follows from others has no key: its value in `config` takes its place,
 * if that is not NULL. */
void lvlm_config_words(lvlm_strbuf *out, const char *text, const lvlm_family *family,
                       const cJSON *config, const cJSON *hf_config);

LVLM_END_DECLS

#endif
