/* token_ids.c - see token_ids.h. */
#include "convert/token_ids.h"

uint64_t lvlm_tokenizer_ids(const cJSON *json)
{
    const cJSON *const vocab = lvlm_json_path(json, "model.vocab"), *item;
    uint64_t id, n_ids = lvlm_json_count(vocab); /* Unigram's is a list */
    LVLM_JSON_MEMBERS (item, vocab)
        if (lvlm_json_u64(&id, item) && id >= n_ids) n_ids = id + 1;
    LVLM_JSON_ITEMS (item, lvlm_json_get(json, "added_tokens"))
        if (lvlm_json_u64(&id, lvlm_json_get(item, "id")) && id >= n_ids)
            n_ids = id + 1;
    return n_ids;
}
