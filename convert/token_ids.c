/* token_ids.c - see token_ids.h. */
#include "convert/token_ids.h"

/* Raise *n_ids above an id. */
static void count(uint64_t *n_ids, const cJSON *item)
{
    uint64_t id;
    if (lvlm_json_u64(&id, item) && id >= *n_ids) *n_ids = id + 1;
}

uint64_t lvlm_vocabulary_ids(const cJSON *json)
{
    const cJSON *item;
    uint64_t n_ids = 0;
    LVLM_JSON_MEMBERS (item, json) count(&n_ids, item);
    return n_ids;
}

uint64_t lvlm_tokenizer_ids(const cJSON *json)
{
    const cJSON *const vocab = lvlm_json_path(json, "model.vocab"), *item;
    uint64_t n_ids = lvlm_json_count(vocab); /* Unigram's is a list */
    if (n_ids == 0) n_ids = lvlm_vocabulary_ids(vocab);
    LVLM_JSON_ITEMS (item, lvlm_json_get(json, "added_tokens"))
        count(&n_ids, lvlm_json_get(item, "id"));
    return n_ids;
}
