/* prompt_affix.c - tokens that a tokenizer adds around any text; see prompt_affix.h. */
#include "runtime/prepare/prompt/prompt_affix.h"

#include <assert.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/container/side_file.h"

static const char tokenizer_file[] = "tokenizer.json";
static const char config_file[] = "tokenizer_config.json";

/* ---- tokenizer.json ------------------------------------------------------------- */

/* The template among post-processors, or NULL. ByteLevel only changes offsets; others
 * are refused. */
static int find_template(const cJSON **out, const cJSON *processor, lvlm_error *err)
{
    const char *const type = lvlm_json_string(lvlm_json_get(processor, "type"));
    const cJSON *item;
    if (processor == NULL || cJSON_IsNull(processor)) return 0;
    if (type != NULL && strcmp(type, "ByteLevel") == 0) return 0;
    if (type != NULL && strcmp(type, "Sequence") == 0) {
        LVLM_JSON_ITEMS (item, lvlm_json_get(processor, "processors"))
            TRY(find_template(out, item, err));
        return 0;
    }
    FAIL_IF(type == NULL || strcmp(type, "TemplateProcessing") != 0, err, LVLM_EFORMAT,
            "post_processor: type '%.64s' is not known", type != NULL ? type : "");
    FAIL_IF(*out != NULL, err, LVLM_EFORMAT, "post_processor: two templates");
    *out = processor;
    return 0;
}

/* The id of a token that a template names, as the template's own list has it. */
static int read_token(int64_t *out, const cJSON *template, const cJSON *token,
                      const lvlm_tokenizer *tokenizer, lvlm_error *err)
{
    const char *const name = lvlm_json_string(lvlm_json_get(token, "id"));
    const int64_t id = name != NULL ? lvlm_tokenizer_id(tokenizer, name) : -1;
    FAIL_IF(id < 0, err, LVLM_EFORMAT, "post_processor: '%.64s' is not a token",
            name != NULL ? name : "");
    const cJSON *const ids = lvlm_json_get(
        lvlm_json_get(lvlm_json_get(template, "special_tokens"), name), "ids");
    uint64_t value = 0;
    FAIL_IF(lvlm_json_count(ids) != 1 ||
                !lvlm_json_u64(&value, lvlm_json_item(ids, 0)) || value != (uint64_t)id,
            err, LVLM_EFORMAT,
            "post_processor: special_tokens: '%.64s': expected the one id %lld", name,
            (long long)id);
    *out = id;
    return 0;
}

static int refuse(lvlm_error *err)
{
    return lvlm_fail(err, LVLM_EFORMAT,
                     "post_processor: single: expected tokens around one sequence A");
}

/* [ { "SpecialToken": { "id": "<bos>" } }, { "Sequence": { "id": "A" } }, ... ] */
static int read_template(prompt_affix *out, const cJSON *template,
                         const lvlm_tokenizer *tokenizer, lvlm_error *err)
{
    const cJSON *item;
    bool passed = false; /* the sequence */
    LVLM_JSON_ITEMS (item, lvlm_json_get(template, "single")) {
        const cJSON *const token = lvlm_json_get(item, "SpecialToken");
        const char *const text = lvlm_json_string(lvlm_json_path(item, "Sequence.id"));
        size_t *const n = passed ? &out->n_back : &out->n_front;
        int64_t *const to = passed ? out->back : out->front;
        if (token == NULL) {
            if (text == NULL || strcmp(text, "A") != 0 || passed) return refuse(err);
            passed = true;
            continue;
        }
        FAIL_IF(*n == PROMPT_MAX_AFFIX, err, LVLM_EFORMAT,
                "post_processor: over %d tokens", PROMPT_MAX_AFFIX);
        TRY(read_token(&to[(*n)++], template, token, tokenizer, err));
    }
    return passed ? 0 : refuse(err);
}

static int read_tokenizer(prompt_affix *out, const lvlm_checkpoint *cp,
                          const lvlm_tokenizer *tokenizer, lvlm_error *err)
{
    static const char word[] = "Processing\"";
    const lvlm_side_file *const file = lvlm_checkpoint_side_file(cp, tokenizer_file);
    const cJSON *template = NULL;
    cJSON *json;
    /* avoids parsing megabytes again; every processor that adds a token has this
     * string */
    if (file == NULL ||
        memmem(file->bytes, (size_t)file->n_bytes, word, sizeof word - 1) == NULL)
        return 0;
    TRY(lvlm_side_file_parse(&json, file, err));
    int rc = find_template(&template, lvlm_json_get(json, "post_processor"), err);
    if (rc == 0 && template != NULL) rc = read_template(out, template, tokenizer, err);
    if (rc < 0) lvlm_prefix(err, "%s: ", tokenizer_file);
    lvlm_json_free(json);
    return rc;
}

/* ---- tokenizer_config.json ------------------------------------------------------ */

/* Does `key` decide about a token? Appends its id to `ids` if it is added. */
static int read_switch(bool *decides, int64_t *ids, size_t *n, const cJSON *config,
                       const char *key, lvlm_token_role role,
                       const lvlm_tokenizer *tokenizer, lvlm_error *err)
{
    const cJSON *const value = lvlm_json_given(config, key);
    if (value == NULL) return 0;
    FAIL_IF(!cJSON_IsBool(value), err, LVLM_EFORMAT, "%s: %s: expected true or false",
            config_file, key);
    *decides = true;
    if (!cJSON_IsTrue(value)) return 0;
    const int64_t id = lvlm_tokenizer_role(tokenizer, role);
    FAIL_IF(id < 0, err, LVLM_EFORMAT, "%s: %s: there is no such token", config_file,
            key);
    assert(*n < PROMPT_MAX_AFFIX);
    ids[(*n)++] = id;
    return 0;
}

int prompt_affix_read(prompt_affix *out, const lvlm_checkpoint *cp,
                      const lvlm_tokenizer *tokenizer, lvlm_error *err)
{
    cJSON *config;
    bool decides = false;
    *out = (prompt_affix){ .n_front = 0 };
    TRY(lvlm_side_file_json(&config, cp, config_file, err));
    int rc = read_switch(&decides, out->front, &out->n_front, config, "add_bos_token",
                         LVLM_TOKEN_BOS, tokenizer, err);
    if (rc == 0)
        rc = read_switch(&decides, out->back, &out->n_back, config, "add_eos_token",
                         LVLM_TOKEN_EOS, tokenizer, err);
    lvlm_json_free(config);
    return rc < 0 || decides ? rc : read_tokenizer(out, cp, tokenizer, err);
}
