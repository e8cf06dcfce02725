/* prompt_affix.c - what a tokenizer puts around any text; see prompt_affix.h. */
#include "runtime/input/prompt_affix.h"

#include <string.h>

#include "formats/base/json.h"

static const char tokenizer_file[] = "tokenizer.json";
static const char config_file[] = "tokenizer_config.json";

/* *out is owned, NULL when there is no such file. */
static int read_json(cJSON **out, const lvlm_checkpoint *cp, const char *name,
                     lvlm_error *err)
{
    const lvlm_side_file *const file = lvlm_checkpoint_side_file(cp, name);
    *out = NULL;
    if (file == NULL) return 0;
    const int rc =
        lvlm_json_parse(out, (const char *)file->bytes, (size_t)file->n_bytes, err);
    if (rc < 0) lvlm_prefix(err, "%s: ", name);
    return rc;
}

/* ---- tokenizer.json ------------------------------------------------------------- */

static bool is_type(const cJSON *item, const char *type)
{
    const char *const word = lvlm_json_string(lvlm_json_get(item, "type"));
    return word != NULL && strcmp(word, type) == 0;
}

/* The template among post-processors, or NULL. */
static const cJSON *find_template(const cJSON *processor)
{
    const cJSON *item;
    if (is_type(processor, "TemplateProcessing")) return processor;
    if (!is_type(processor, "Sequence")) return NULL;
    LVLM_JSON_ITEMS (item, lvlm_json_get(processor, "processors"))
        if (is_type(item, "TemplateProcessing")) return item;
    return NULL;
}

/* [ { "SpecialToken": { "id": "<bos>" } }, { "Sequence": { "id": "A" } }, ... ] */
static int read_template(prompt_affix *out, const cJSON *template,
                         const lvlm_tokenizer *tokenizer, lvlm_error *err)
{
    bool behind = false;
    const cJSON *item;
    LVLM_JSON_ITEMS (item, lvlm_json_get(template, "single")) {
        const cJSON *const token = lvlm_json_get(item, "SpecialToken");
        if (token == NULL) {
            behind = true;
            continue;
        }
        const char *const name = lvlm_json_string(lvlm_json_get(token, "id"));
        const int64_t id = name != NULL ? lvlm_tokenizer_id(tokenizer, name) : -1;
        size_t *const n = behind ? &out->n_back : &out->n_front;
        FAIL_IF(id < 0, err, LVLM_EFORMAT, "%s: post_processor: '%.64s' is no token",
                tokenizer_file, name != NULL ? name : "");
        FAIL_IF(*n == PROMPT_MAX_AFFIX, err, LVLM_EFORMAT,
                "%s: post_processor: over %d tokens", tokenizer_file, PROMPT_MAX_AFFIX);
        (behind ? out->back : out->front)[(*n)++] = id;
    }
    return 0;
}

static int read_tokenizer(prompt_affix *out, const lvlm_checkpoint *cp,
                          const lvlm_tokenizer *tokenizer, lvlm_error *err)
{
    static const char word[] = "TemplateProcessing";
    const lvlm_side_file *const file = lvlm_checkpoint_side_file(cp, tokenizer_file);
    cJSON *json;
    /* megabytes that are read once already */
    if (file == NULL ||
        memmem(file->bytes, (size_t)file->n_bytes, word, sizeof word - 1) == NULL)
        return 0;
    int rc = read_json(&json, cp, tokenizer_file, err);
    const cJSON *const template =
        rc == 0 ? find_template(lvlm_json_get(json, "post_processor")) : NULL;
    if (template != NULL) rc = read_template(out, template, tokenizer, err);
    lvlm_json_free(json);
    return rc;
}

/* ---- tokenizer_config.json ------------------------------------------------------ */

int prompt_affix_read(prompt_affix *out, const lvlm_checkpoint *cp,
                      const lvlm_tokenizer *tokenizer, lvlm_error *err)
{
    cJSON *config;
    *out = (prompt_affix){ .n_front = 0 };
    TRY(read_json(&config, cp, config_file, err));
    const cJSON *const bos = lvlm_json_get(config, "add_bos_token");
    const cJSON *const eos = lvlm_json_get(config, "add_eos_token");
    const bool decides = bos != NULL || eos != NULL;
    const int64_t first =
        cJSON_IsTrue(bos) ? lvlm_tokenizer_role(tokenizer, LVLM_TOKEN_BOS) : -1;
    const int64_t last =
        cJSON_IsTrue(eos) ? lvlm_tokenizer_role(tokenizer, LVLM_TOKEN_EOS) : -1;
    lvlm_json_free(config);
    if (!decides) return read_tokenizer(out, cp, tokenizer, err);
    if (first >= 0) out->front[out->n_front++] = first;
    if (last >= 0) out->back[out->n_back++] = last;
    return 0;
}
