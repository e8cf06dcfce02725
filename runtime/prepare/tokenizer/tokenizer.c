/* tokenizer.c - finds and opens the files of a tokenizer. */
#include "runtime/prepare/tokenizer/tokenizer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/container/side_file.h"
#include "runtime/prepare/tokenizer/tokenizer_parts.h"

#define N_LOCATIONS 1024
#define N_SEGMENTS 128

/* ---- adding tokens --------------------------------------------------------------- */

/* As in the tokenizers library: after the vocabulary and the tokens added so far. */
static int64_t next_free_id(const lvlm_tokenizer *t)
{
    const size_t n = t->model.vocab.n, n_added = t->added.texts.n_ids;
    return (int64_t)(n_added > n ? n_added : n);
}

int tokenizer_add(lvlm_tokenizer *t, const char *text, size_t n_bytes,
                  added_token token, int64_t stated, lvlm_error *err)
{
    assert(t->added.raw.patterns == NULL); /* not open yet */
    const uint32_t known = vocabulary_find(&t->model.vocab, text, n_bytes);
    const added_token *const before = added_tokens_find(&t->added, text, n_bytes);
    const int64_t id = before != NULL              ? (int64_t)before->id
                       : known != VOCABULARY_NO_ID ? (int64_t)known
                                                   : next_free_id(t);
    FAIL_IF(stated >= 0 && stated != id, err, LVLM_EFORMAT,
            "added token '%.*s' has id %" PRId64 " in the file, but %s %" PRId64,
            (int)(n_bytes < 60 ? n_bytes : 60), text, stated,
            before != NULL || known != VOCABULARY_NO_ID ? "its text has"
                                                        : "the next free one is",
            id);
    FAIL_IF(id >= VOCABULARY_MAX_IDS, err, LVLM_EFORMAT, "over %d tokens",
            VOCABULARY_MAX_IDS);
    token.id = (uint32_t)id;
    return added_tokens_add(&t->added, text, n_bytes, &token, err);
}

int tokenizer_read_added(const char **text, added_token *token, const cJSON *json,
                         lvlm_error *err)
{
    const cJSON *const normalized = lvlm_json_get(json, "normalized");
    *text = lvlm_json_string(lvlm_json_get(json, "content"));
    FAIL_IF(*text == NULL, err, LVLM_EFORMAT, "an added token without content");
    *token = (added_token){
        .special = cJSON_IsTrue(lvlm_json_get(json, "special")),
        .lstrip = cJSON_IsTrue(lvlm_json_get(json, "lstrip")),
        .rstrip = cJSON_IsTrue(lvlm_json_get(json, "rstrip")),
        .single_word = cJSON_IsTrue(lvlm_json_get(json, "single_word")),
    };
    token->normalized = normalized != NULL ? cJSON_IsTrue(normalized) : !token->special;
    return 0;
}

bool tokenizer_parse_number(uint64_t *out, const char *text, size_t n_bytes)
{
    *out = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        *out = *out * 10 + (uint64_t)(text[i] - '0');
    }
    return n_bytes > 0 && n_bytes <= 9;
}

/* The order in which PaliGemma's processor adds them. */
static int add_paligemma(lvlm_tokenizer *t, lvlm_error *err)
{
    const added_token image = { .special = true };
    const added_token place = { .normalized = true };
    char text[16];
    TRY(tokenizer_add(t, "<image>", strlen("<image>"), image, -1, err));
    for (int i = 0; i < N_LOCATIONS + N_SEGMENTS; i++) {
        const int n = i < N_LOCATIONS
                          ? snprintf(text, sizeof text, "<loc%04d>", i)
                          : snprintf(text, sizeof text, "<seg%03d>", i - N_LOCATIONS);
        TRY(tokenizer_add(t, text, (size_t)n, place, -1, err));
    }
    return 0;
}

/* ---- files ----------------------------------------------------------------------- */

static int parse_files(tokenizer_files *files, const lvlm_checkpoint *cp,
                       lvlm_error *err)
{
    TRY(lvlm_side_file_json(&files->config, cp, "tokenizer_config.json", err));
    TRY(lvlm_side_file_json(&files->special_map, cp, "special_tokens_map.json", err));
    return lvlm_side_file_json(&files->added, cp, "added_tokens.json", err);
}

static void free_files(tokenizer_files *files)
{
    lvlm_json_free(files->config);
    lvlm_json_free(files->special_map);
    lvlm_json_free(files->added);
}

/* A protobuf begins with the tag of its first field; ranks begin with base64. */
static int read_model(lvlm_tokenizer *t, const lvlm_side_file *file,
                      const tokenizer_files *files, lvlm_error *err)
{
    if (file->n_bytes > 0 && file->bytes[0] == '\n')
        return tokenizer_read_sentencepiece(t, file, err);
    return tokenizer_read_llama3(t, file, files->config, err);
}

static int read_vocabulary(lvlm_tokenizer *t, const lvlm_checkpoint *cp,
                           const tokenizer_files *files, lvlm_error *err)
{
    const lvlm_side_file *file, *merges;
    int rc;
    if ((file = lvlm_checkpoint_side_file(cp, "tokenizer.json")) != NULL) {
        TRY(lvlm_side_file_check(file, err));
        rc = tokenizer_read_json(t, file, err);
    } else if ((file = lvlm_checkpoint_side_file(cp, "vocab.json")) != NULL &&
               (merges = lvlm_checkpoint_side_file(cp, "merges.txt")) != NULL) {
        TRY(lvlm_side_file_check(merges, err));
        return tokenizer_read_vocab_and_merges(t, file, merges, err);
    } else if ((file = lvlm_checkpoint_side_file(cp, "qwen.tiktoken")) != NULL) {
        TRY(lvlm_side_file_check(file, err));
        rc = tokenizer_read_qwen(t, file, err);
    } else if ((file = lvlm_checkpoint_side_file(cp, "tokenizer.model")) != NULL) {
        TRY(lvlm_side_file_check(file, err));
        rc = read_model(t, file, files, err);
    } else {
        return lvlm_fail(err, LVLM_EFORMAT,
                         "no tokenizer: none of tokenizer.json, vocab.json with "
                         "merges.txt, qwen.tiktoken, tokenizer.model is there; convert "
                         "the model again with them in its directory");
    }
    if (rc < 0) lvlm_prefix(err, "%s: ", file->name);
    return rc;
}

static bool is_paligemma(const lvlm_checkpoint *cp)
{
    const cJSON *const family = lvlm_json_get(cp->metadata, "family");
    const cJSON *const type = lvlm_json_get(cp->config, "model_type");
    const char *const name = lvlm_json_string(family != NULL ? family : type);
    return name != NULL && lvlm_starts_with(name, "paligemma");
}

static int read_all(lvlm_tokenizer *t, tokenizer_files *files,
                    const lvlm_checkpoint *cp, lvlm_error *err)
{
    TRY(parse_files(files, cp, err));
    TRY(tokenizer_note_config(files->config, cp->notes, err));
    TRY(read_vocabulary(t, cp, files, err));
    /* Qwen-VL defines its tokens in code, not in its configuration */
    if (t->images.start < 0) TRY(tokenizer_apply_config(t, files, err));
    if (is_paligemma(cp)) TRY(add_paligemma(t, err));
    return added_tokens_prepare(&t->added, &t->form, err);
}

int lvlm_tokenizer_open(lvlm_tokenizer **out, const lvlm_checkpoint *checkpoint,
                        lvlm_error *err)
{
    tokenizer_files files = { 0 };
    lvlm_tokenizer *const t = lvlm_calloc(1, sizeof *t);
    if (t == NULL) return lvlm_fail_memory(err);
    bpe_init(&t->model);
    t->images = (image_span){ -1, -1, -1 };
    for (size_t i = 0; i < LVLM_N_TOKEN_ROLES; i++) t->roles[i] = -1;
    const int rc = read_all(t, &files, checkpoint, err);
    free_files(&files);
    if (rc < 0) {
        lvlm_prefix(err, "%s: ", checkpoint->path);
        lvlm_tokenizer_close(t);
        return rc;
    }
    *out = t;
    return 0;
}

void lvlm_tokenizer_close(lvlm_tokenizer *t)
{
    if (t == NULL) return;
    bpe_free(&t->model);
    added_tokens_free(&t->added);
    normal_form_free(&t->form);
    word_split_free(&t->words);
    lvlm_free(t);
}

/* ---- what there is --------------------------------------------------------------- */

size_t lvlm_tokenizer_size(const lvlm_tokenizer *t)
{
    const size_t n = t->model.vocab.n_ids, n_added = t->added.texts.n_ids;
    return n_added > n ? n_added : n;
}

int64_t lvlm_tokenizer_id(const lvlm_tokenizer *t, const char *token)
{
    const added_token *const added = added_tokens_find(&t->added, token, strlen(token));
    if (added != NULL) return added->id;
    const uint32_t id = vocabulary_find(&t->model.vocab, token, strlen(token));
    return id != VOCABULARY_NO_ID ? (int64_t)id : -1;
}

const char *lvlm_tokenizer_token(const lvlm_tokenizer *t, int64_t id, size_t *n_bytes)
{
    const char *const added = vocabulary_text(&t->added.texts, (uint64_t)id, n_bytes);
    return added != NULL ? added
                         : vocabulary_text(&t->model.vocab, (uint64_t)id, n_bytes);
}

bool lvlm_tokenizer_is_special(const lvlm_tokenizer *t, int64_t id)
{
    const added_token *const added = added_tokens_by_id(&t->added, id);
    return added != NULL && added->special;
}

int64_t lvlm_tokenizer_role(const lvlm_tokenizer *t, lvlm_token_role role)
{
    assert((size_t)role < LVLM_N_TOKEN_ROLES);
    return t->roles[role];
}
