/* generation_config.c - generation_config.json; see generation_config.h. */
#include "runtime/generate/generation_config.h"

#include <assert.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/keys.h"
#include "formats/container/side_file.h"

static const char generation_file[] = "generation_config.json";
static const char config_file[] = "config.json";

enum { MOST = INT32_MAX }; /* of counts and ids: far above any meaningful value */

#define NOTED LVLM_KEY_NOTED
#define INERT LVLM_KEY_INERT
#define ONE_TEXT "one text is continued, token by token"
#define ALL_TOKENS "every token may come"
#define AS_FAST "changes only the speed, or what is returned besides tokens"

// clang-format off
/* Keys of transformers' GenerationConfig in any version, and those that Qwen-VL
 * adds. */
static const lvlm_key keys[] = {
    { "top_k" },
    { "top_p" },
    { "repetition_penalty" },
    { "max_new_tokens" },
    { "eos_token_id" },
    { "chat_format" },
    { "max_window_size" }, /* read where the prompt is composed */
    { "do_sample",   INERT, "greedy unless --temperature asks for more" },
    { "temperature", INERT, "likewise" },
    { "bos_token_id", INERT, "the prompt is written by its template" },
    { "pad_token_id", INERT, "texts are not padded" },
    { "decoder_start_token_id", INERT, "of encoders with a decoder" },
    { "transformers_version", INERT, "names the version that wrote the file" },
    { "_*", INERT, "likewise" },
    { "stop_strings", NOTED, "only end tokens end a text", "[]" },
    { "max_length", NOTED, "--max-new-tokens limits the answer", "20" },
    { "max_time", NOTED, "time ends no text" },
    { "min_length", NOTED, "an answer may be shorter", "0" },
    { "min_new_tokens", NOTED, "an answer may be shorter", "0" },
    { "num_beams", NOTED, ONE_TEXT, "1" },
    { "num_beam_groups", NOTED, ONE_TEXT, "1" },
    { "diversity_penalty", NOTED, ONE_TEXT, "0" },
    { "num_return_sequences", NOTED, ONE_TEXT, "1" },
    { "early_stopping", INERT, "of beams" },
    { "length_penalty", INERT, "of beams" },
    { "constraints", NOTED, ONE_TEXT, "[]" },
    { "force_words_ids", NOTED, ONE_TEXT, "[]" },
    { "penalty_alpha", NOTED, ONE_TEXT, "0" },
    { "dola_layers", NOTED, "only the last layer decides" },
    { "guidance_scale", NOTED, "only the prompt decides", "1" },
    { "token_healing", NOTED, "the prompt stays as it is", "false" },
    { "encoder_repetition_penalty", NOTED, "only repetition_penalty is applied", "1" },
    { "encoder_no_repeat_ngram_size", NOTED, ALL_TOKENS, "0" },
    { "no_repeat_ngram_size", NOTED, ALL_TOKENS, "0" },
    { "bad_words_ids", NOTED, ALL_TOKENS, "[]" },
    { "suppress_tokens", NOTED, ALL_TOKENS, "[]" },
    { "begin_suppress_tokens", NOTED, ALL_TOKENS, "[]" },
    { "sequence_bias", NOTED, ALL_TOKENS, "[]|{}" },
    { "forced_bos_token_id", NOTED, ALL_TOKENS },
    { "forced_eos_token_id", NOTED, ALL_TOKENS },
    { "exponential_decay_length_penalty", NOTED, ALL_TOKENS },
    { "remove_invalid_values", INERT, "values that are not finite are an error" },
    { "renormalize_logits", INERT, "tokens are drawn from probabilities" },
    { "watermarking_config", NOTED, "no watermark is written" },
    { "min_p", NOTED, "only top_k and top_p cut", "0" },
    { "top_h", NOTED, "only top_k and top_p cut" },
    { "typical_p", NOTED, "only top_k and top_p cut", "1" },
    { "epsilon_cutoff", NOTED, "only top_k and top_p cut", "0" },
    { "eta_cutoff", NOTED, "only top_k and top_p cut", "0" },
    { "use_cache", INERT, AS_FAST },
    { "use_mtp", INERT, AS_FAST },
    { "cache_*", INERT, AS_FAST },
    { "max_cache_len", INERT, AS_FAST },
    { "return_legacy_cache", INERT, AS_FAST },
    { "low_memory", INERT, AS_FAST },
    { "compile_config", INERT, AS_FAST },
    { "disable_compile", INERT, AS_FAST },
    { "continuous_batching_config", INERT, AS_FAST },
    { "prefill_chunk_size", INERT, AS_FAST },
    { "is_assistant", INERT, AS_FAST },
    { "assistant_*", INERT, AS_FAST },
    { "num_assistant_tokens*", INERT, AS_FAST },
    { "prompt_lookup_num_tokens", INERT, AS_FAST },
    { "max_matching_ngram_size", INERT, AS_FAST },
    { "target_lookbehind", INERT, AS_FAST },
    { "speculation_type", INERT, AS_FAST },
    { "output_*", INERT, AS_FAST },
    { "return_dict_in_generate", INERT, AS_FAST },
    { NULL },
};
// clang-format on

static int read_number(double *out, const cJSON *json, const char *name,
                       lvlm_error *err)
{
    const cJSON *const item = lvlm_json_given(json, name);
    FAIL_IF(item != NULL && !lvlm_json_double(out, item), err, LVLM_EFORMAT,
            "%s: %s is not a number", generation_file, name);
    return 0;
}

static int read_count(uint64_t *out, const cJSON *json, const char *name,
                      lvlm_error *err)
{
    const cJSON *const item = lvlm_json_given(json, name);
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
            "%s: eos_token_id has a value that is not a token id", file);
    FAIL_IF(g->n_ends == LVLM_MAX_ENDS, err, LVLM_EFORMAT,
            "%s: eos_token_id lists over %d tokens", file, LVLM_MAX_ENDS);
    g->ends[g->n_ends++] = (int64_t)id;
    return 0;
}

static int read_ends(lvlm_generation *g, const cJSON *json, const char *file,
                     lvlm_error *err)
{
    const cJSON *const ends = lvlm_json_given(json, "eos_token_id"), *item;
    if (ends == NULL) return 0;
    if (!cJSON_IsArray(ends)) return add_end(g, ends, file, err);
    LVLM_JSON_ITEMS (item, ends) TRY(add_end(g, item, file, err));
    return 0;
}

static int read_generation(lvlm_generation *g, const cJSON *json, lvlm_error *err)
{
    const char *const chat = lvlm_json_string(lvlm_json_given(json, "chat_format"));
    TRY(read_count(&g->sampling.top_k, json, "top_k", err));
    TRY(read_number(&g->sampling.top_p, json, "top_p", err));
    TRY(read_number(&g->sampling.penalty, json, "repetition_penalty", err));
    TRY(read_count(&g->max_new_tokens, json, "max_new_tokens", err));
    TRY(read_ends(g, json, generation_file, err));
    g->chatml = chat != NULL && strcmp(chat, "chatml") == 0 && g->n_ends > 0;
    return 0;
}

static int read_config_ends(lvlm_generation *g, const cJSON *json, lvlm_error *err)
{
    TRY(read_ends(g, json, config_file, err));
    if (g->n_ends > 0) return 0;
    return read_ends(g, lvlm_json_get(json, "text_config"), config_file, err);
}

/* Pass the side file to `read`, if it exists. */
static int
read_side_file(lvlm_generation *g, const lvlm_checkpoint *checkpoint, const char *name,
               int (*read)(lvlm_generation *g, const cJSON *json, lvlm_error *err),
               lvlm_error *err)
{
    cJSON *json = NULL;
    TRY(lvlm_side_file_json(&json, checkpoint, name, err));
    int rc = 0;
    if (json != NULL && !cJSON_IsObject(json))
        rc = lvlm_fail(err, LVLM_EFORMAT, "%s: is not an object", name);
    else if (json != NULL)
        rc = read(g, json, err);
    if (rc == 0 && name == generation_file)
        rc = lvlm_keys_check(json, name, keys, checkpoint->notes, err);
    lvlm_json_free(json);
    return rc;
}

int lvlm_generation_read(lvlm_generation *out, const lvlm_manifest *manifest,
                         lvlm_error *err)
{
    const lvlm_checkpoint *const checkpoint = manifest->checkpoint;
    assert(checkpoint != NULL);
    *out = (lvlm_generation){ .sampling = { .top_k = 50, .top_p = 1, .penalty = 1 },
                              .max_new_tokens = LVLM_DEFAULT_NEW_TOKENS };
    TRY(read_side_file(out, checkpoint, generation_file, read_generation, err));
    if (out->n_ends > 0) return 0;
    return read_side_file(out, checkpoint, config_file, read_config_ends, err);
}

/* In Qwen's vocabulary the ids that open and close a turn follow the end of text. */
bool lvlm_generation_forces(int64_t *id, const lvlm_generation *g, int64_t previous)
{
    if (!g->chatml || (previous != g->ends[0] + 1 && previous != g->ends[0] + 2))
        return false;
    *id = g->ends[0];
    return true;
}
