/* token_ids.h - the ids of a tokenizer's file. */
#ifndef LVLM_CONVERT_TOKEN_IDS_H
#define LVLM_CONVERT_TOKEN_IDS_H

#include "formats/base/json.h"

LVLM_BEGIN_DECLS

/* The first id above all those of a tokenizer.json, added tokens included; 0 if `json`
 * is NULL or has none. */
uint64_t lvlm_tokenizer_ids(const cJSON *json);

LVLM_END_DECLS

#endif
