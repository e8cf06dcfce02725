/* change_words.c - how many rows the tokens of a model need. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/change/change_parts.h"
#include "convert/token_ids.h"
#include "formats/base/json.h"
#include "formats/container/side_file.h"

bool change_is_words(const char *name)
{
    return strcmp(name, LVLM_EMBED_TABLE) == 0 || strcmp(name, "text.head.weight") == 0;
}

static int check_ids(const lvlm_change *c, const char *what, uint64_t n_ids,
                     uint64_t rows, lvlm_error *err)
{
    FAIL_IF(n_ids > rows, err, LVLM_EFORMAT,
            "--vocab %" PRIu64 ": %s has id %" PRIu64 ", which a table of %" PRIu64
            " rows would cut off",
            c->options.vocab, what, n_ids - 1, rows);
    return 0;
}

/* Special tokens of the configuration, and of config.json. */
static int check_settings(const lvlm_change *c, uint64_t rows, lvlm_error *err)
{
    static const char *const keys[] = { "bos_token_id", "eos_token_id",
                                        "text_config.bos_token_id",
                                        "text_config.eos_token_id" };
    const cJSON *token;
    cJSON *config = NULL;
    uint64_t id;
    LVLM_JSON_MEMBERS (token, lvlm_json_get(c->to.config, "tokens")) {
        char name[64];
        (void)snprintf(name, sizeof name, "tokens.%s", token->string);
        if (lvlm_json_u64(&id, token)) TRY(check_ids(c, name, id + 1, rows, err));
    }
    TRY(lvlm_side_file_json(&config, c->to.model, "config.json", err));
    int rc = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && rc == 0; i++)
        if (lvlm_json_u64(&id, lvlm_json_path(config, keys[i])))
            rc = check_ids(c, keys[i], id + 1, rows, err);
    lvlm_json_free(config);
    return rc;
}

/* { "added_tokens_decoder": { "ID": ... } } */
static uint64_t ids_of_keys(const cJSON *json)
{
    const cJSON *item;
    uint64_t n_ids = 0;
    LVLM_JSON_MEMBERS (item, lvlm_json_get(json, "added_tokens_decoder")) {
        const uint64_t id = strtoull(item->string, NULL, 10);
        if (id >= n_ids) n_ids = id + 1;
    }
    return n_ids;
}

static int check_tokenizer(const lvlm_change *c, uint64_t rows, lvlm_error *err)
{
    static const struct {
        const char *name;
        uint64_t (*n_ids)(const cJSON *json);
    } files[] = {
        { "tokenizer.json", lvlm_tokenizer_ids },
        { "added_tokens.json", lvlm_vocabulary_ids },
        { "vocab.json", lvlm_vocabulary_ids },
        { "tokenizer_config.json", ids_of_keys },
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        cJSON *json = NULL;
        TRY(lvlm_side_file_json(&json, c->to.model, files[i].name, err));
        const uint64_t n_ids = files[i].n_ids(json);
        lvlm_json_free(json);
        TRY(check_ids(c, files[i].name, n_ids, rows, err));
    }
    return 0;
}

/* Tokenizers whose ids are not read here: with tokenizer.json beside them they are
 * those of that file. */
static int check_others(const lvlm_change *c, lvlm_error *err)
{
    static const char *const names[] = { "tokenizer.model", "qwen.tiktoken" };
    if (lvlm_checkpoint_side_file(c->to.model, "tokenizer.json") != NULL) return 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        FAIL_IF(lvlm_checkpoint_side_file(c->to.model, names[i]) != NULL, err,
                LVLM_EFORMAT,
                "--vocab %" PRIu64 ": rows can be cut off only where tokenizer.json "
                "says which ids there are; this model has %s",
                c->options.vocab, names[i]);
    return 0;
}

int change_check_words(const lvlm_change *c, uint64_t rows, lvlm_error *err)
{
    assert(rows > 0);
    TRY(check_settings(c, rows, err));
    TRY(check_tokenizer(c, rows, err));
    return check_others(c, err);
}

int change_cut_write(void *user, const lvlm_step *step, lvlm_sink *sink,
                     lvlm_error *err)
{
    const lvlm_tensor *const table = step->inputs[0];
    (void)user;
    (void)err;
    assert(table->stride == NULL);
    assert(lvlm_tensor_numel(&step->out) <= lvlm_tensor_numel(table));
    lvlm_sink_put(sink, table->dtype, table->data,
                  (size_t)lvlm_tensor_numel(&step->out));
    return 0;
}
