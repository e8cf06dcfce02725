/* part_files.c - the lists; see part_files.h. */
#include "convert/part_files.h"

#include <assert.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/container/side_file.h"

static const char *const vision[] = { "preprocessor_config.json", NULL };

static const char *const text[] = {
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    NULL,
};

const char *const *lvlm_part_files(const char *part)
{
    if (strcmp(part, "vision") == 0) return vision;
    assert(strcmp(part, "text") == 0);
    return text;
}

int lvlm_part_pictures(cJSON **out, const lvlm_checkpoint *from, lvlm_error *err)
{
    cJSON *json = NULL;
    TRY(lvlm_side_file_json(&json, from, "processor_config.json", err));
    *out = cJSON_DetachItemFromObjectCaseSensitive(json, "image_processor");
    lvlm_json_free(json);
    if (*out == NULL || cJSON_IsNull(*out)) {
        lvlm_json_free(*out);
        TRY(lvlm_side_file_json(out, from, vision[0], err));
    }
    if (*out == NULL || cJSON_IsObject(*out)) return 0;
    lvlm_json_free(*out);
    *out = NULL;
    return lvlm_fail(err, LVLM_EFORMAT,
                     "the settings of its processor are not an object");
}
