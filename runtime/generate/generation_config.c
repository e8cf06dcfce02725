/* generation_config.c - generation_config.json; see generation_config.h. */
#include "runtime/generate/generation_config.h"

#include <string.h>

#include "formats/base/json.h"

static const char generation_file[] = "generation_config.json";
static const char config_file[] = "config.json";

enum { MOST = INT32_MAX }; /* of counts and ids: far above any that means something */

/* Change what comes out when they are not what stands here. */
static const struct neutral {
    const char *name;
    double value;
} not_followed[] = {
    { "num_beams", 1 },
    { "no_repeat_ngram_size", 0 },
    { "min_length", 0 },
    { "min_new_tokens", 0 },
    { "guidance_scale", 1 },
    { "bad_words_ids", 0 },
    { "sequence_bias", 0 },
    { "forced_bos_token_id", -1 },
    { "forced_eos_token_id", -1 },
    { "exponential_decay_length_penalty", 0 },
    { "suppress_tokens", 0 },
    { "begin_suppress_tokens", 0 },
    { "watermarking_config", 0 },
    { "min_p", 0 },
    { "typical_p", 1 },
    { "epsilon_cutoff", 0 },
    { "eta_cutoff", 0 },
};

static const cJSON *find(const cJSON *json, const char *name)
{
    const cJSON *const item = lvlm_json_get(json, name);
    return cJSON_IsNull(item) ? NULL : item;
}

static int read_number(double *out, const cJSON *json, const char *name,
                       lvlm_error *err)
{
    const cJSON *const item = find(json, name);
    FAIL_IF(item != NULL && !lvlm_json_double(out, item), err, LVLM_EFORMAT,
            "%s: %s is not a number", generation_file, name);
    return 0;
}

static int read_count(uint64_t *out, const cJSON *json, const char *name,
                      lvlm_error *err)
{
    const cJSON *const item = find(json, name);
    FAIL_IF(item != NULL && (!lvlm_json_u64(out, item) || *out > MOST), err,
            LVLM_EFORMAT, "%s: %s is not a whole number, 0 to %d", generation_file,
            name, MOST);
    return 0;
}

static int add_end(lvlm_generation *g, const cJSON *item, const char *file,
                   lvlm_error *err)
{
    uint64_t id = 0;
    FAIL_IF(!lvlm_json_u64(&id, item) || id > MOST, err, LVLM_EFORMAT,
            "%s: eos_token_id holds what is no token id", file);
    FAIL_IF(g->n_ends == LVLM_MAX_ENDS, err, LVLM_EFORMAT,
            "%s: eos_token_id lists over %d tokens", file, LVLM_MAX_ENDS);
    g->ends[g->n_ends++] = (int64_t)id;
    return 0;
}

static int read_ends(lvlm_generation *g, const cJSON *json, const char *file,
                     lvlm_error *err)
{
    const cJSON *const ends = find(json, "eos_token_id"), *item;
    if (ends == NULL) return 0;
    if (!cJSON_IsArray(ends)) return add_end(g, ends, file, err);
    LVLM_JSON_ITEMS (item, ends) TRY(add_end(g, item, file, err));
    return 0;
}

static const char *first_ignored(const cJSON *json)
{
    for (size_t i = 0; i < sizeof not_followed / sizeof *not_followed; i++) {
        double value;
        const cJSON *const item = find(json, not_followed[i].name);
        if (item == NULL || cJSON_IsFalse(item)) continue;
        if (!lvlm_json_double(&value, item) || value != not_followed[i].value)
            return not_followed[i].name;
    }
    return NULL;
}

static int read_generation(lvlm_generation *g, const cJSON *json, lvlm_error *err)
{
    const char *const chat = lvlm_json_string(find(json, "chat_format"));
    TRY(read_count(&g->sampling.top_k, json, "top_k", err));
    TRY(read_number(&g->sampling.top_p, json, "top_p", err));
    TRY(read_number(&g->sampling.penalty, json, "repetition_penalty", err));
    TRY(read_count(&g->max_new_tokens, json, "max_new_tokens", err));
    TRY(read_ends(g, json, generation_file, err));
    g->chatml = chat != NULL && strcmp(chat, "chatml") == 0 && g->n_ends > 0;
    g->ignored = first_ignored(json);
    return 0;
}

static int read_config_ends(lvlm_generation *g, const cJSON *json, lvlm_error *err)
{
    TRY(read_ends(g, json, config_file, err));
    if (g->n_ends > 0) return 0;
    return read_ends(g, lvlm_json_get(json, "text_config"), config_file, err);
}

/* Hand the side file to `read`, if it is there. */
static int
read_side_file(lvlm_generation *g, const lvlm_checkpoint *checkpoint, const char *name,
               int (*read)(lvlm_generation *g, const cJSON *json, lvlm_error *err),
               lvlm_error *err)
{
    const lvlm_side_file *const file = lvlm_checkpoint_side_file(checkpoint, name);
    cJSON *json = NULL;
    if (file == NULL) return 0;
    int rc =
        lvlm_json_parse(&json, (const char *)file->bytes, (size_t)file->n_bytes, err);
    if (rc < 0)
        lvlm_prefix(err, "%s: ", name);
    else
        rc = read(g, json, err);
    lvlm_json_free(json);
    return rc;
}

int lvlm_generation_read(lvlm_generation *out, const lvlm_manifest *manifest,
                         lvlm_error *err)
{
    const lvlm_checkpoint *const checkpoint = manifest->checkpoint;
    *out = (lvlm_generation){ .sampling = { .top_k = 50, .top_p = 1, .penalty = 1 },
                              .max_new_tokens = LVLM_DEFAULT_NEW_TOKENS };
    TRY(read_side_file(out, checkpoint, generation_file, read_generation, err));
    if (out->n_ends > 0) return 0;
    return read_side_file(out, checkpoint, config_file, read_config_ends, err);
}
