/* part_files.c - the lists; see part_files.h. */
#include "convert/part_files.h"

#include <assert.h>
#include <string.h>

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
