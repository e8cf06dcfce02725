/* token_ids.h - the ids in a tokenizer's files. Every function may be called from
 * several threads at once. */
#ifndef LVLM_CONVERT_TOKEN_IDS_H
#define LVLM_CONVERT_TOKEN_IDS_H

#include "formats/base/json.h"

LVLM_BEGIN_DECLS

/* The first id above all those of a tokenizer.json, added tokens included; 0 if `json`
 * is NULL or has none. */
uint64_t lvlm_tokenizer_ids(const cJSON *json);
/* The same of an added_tokens.json or a vocab.json, { "<image>": 32000 }. */
uint64_t lvlm_vocabulary_ids(const cJSON *json);

LVLM_END_DECLS

#endif
