/* compose_words.c - the image token of a composed model: its id, the rows of the word
 * tables that it needs, and the tokenizer's files that know it.
 *
 *   "id": 151646   a token that the tokenizer has
 *   "id": "next"   the tokenizer's image token; if it has none, the first free id,
 *                  which is added to the tokenizer's files and, if they are too short,
 *                  to the tables */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "convert/compose/compose_parts.h"
#include "convert/token_ids.h"
#include "formats/base/json.h"
#include "formats/base/size.h"
#include "formats/container/side_file.h"

/* The id of the added token `text`, or `next`. */
static uint64_t find_token(const cJSON *json, const char *text, uint64_t next)
{
    const cJSON *item;
    uint64_t id, found = next;
    LVLM_JSON_ITEMS (item, lvlm_json_get(json, "added_tokens")) {
        const char *const content = lvlm_json_string(lvlm_json_get(item, "content"));
        if (lvlm_json_u64(&id, lvlm_json_get(item, "id")) && content != NULL &&
            strcmp(content, text) == 0)
            found = id;
    }
    return found;
}

static int refuse_tokenizer(const lvlm_checkpoint *from, lvlm_error *err)
{
    return lvlm_fail(err, LVLM_EFORMAT,
                     "image_token.id \"next\": %s has vocab.json and no "
                     "tokenizer.json, to which a token could be added: name an id",
                     from->path);
}

/* Tokens are added to tokenizer.json; where there is only a tokenizer.model, to an
 * added_tokens.json beside it. A model without a tokenizer has only its tables. */
static int choose_next(lvlm_compose_parts *parts, const lvlm_compose_spec *spec,
                       lvlm_error *err)
{
    const lvlm_checkpoint *const from = parts->text.from;
    const uint64_t rows = parts->sizes.vocabulary;
    uint64_t n_ids = rows;
    cJSON *json = NULL;
    if (lvlm_checkpoint_side_file(from, "tokenizer.json") != NULL) {
        TRY(lvlm_side_file_json(&json, from, "tokenizer.json", err));
        n_ids = lvlm_tokenizer_ids(json);
        parts->image_id = find_token(json, spec->image_text, n_ids);
        parts->adds_token = parts->image_id == n_ids;
    } else if (lvlm_checkpoint_side_file(from, "tokenizer.model") != NULL) {
        TRY(lvlm_side_file_json(&json, from, "added_tokens.json", err));
        const uint64_t added = lvlm_vocabulary_ids(json);
        if (added > n_ids) n_ids = added;
        parts->image_id = n_ids;
        (void)lvlm_json_u64(&parts->image_id, lvlm_json_get(json, spec->image_text));
        parts->adds_token = parts->image_id == n_ids;
    } else if (lvlm_checkpoint_side_file(from, "vocab.json") != NULL) {
        return refuse_tokenizer(from, err);
    } else {
        parts->image_id = n_ids;
    }
    lvlm_json_free(json);
    FAIL_IF(n_ids > rows && !parts->adds_token, err, LVLM_EFORMAT,
            "text.source: the tokenizer of %s has %" PRIu64
            " ids, its table of word vectors %" PRIu64 " rows",
            from->path, n_ids, rows);
    return 0;
}

/* Extend a table of the language model by rows that are made. */
static int grow(lvlm_compose_parts *parts, const char *name, const lvlm_init *init,
                lvlm_error *err)
{
    for (size_t i = 0; i < parts->text.n_tensors; i++) {
        lvlm_tensor *const t = &parts->text.tensors[i];
        if (strcmp(t->name, name) != 0 || t->shape.n != 2) continue;
        assert(parts->n_growths < sizeof parts->growths / sizeof *parts->growths);
        assert(parts->rows > t->shape.dims[0]);
        parts->stored[parts->n_growths] = *t;
        parts->growths[parts->n_growths] =
            (lvlm_growth){ &parts->stored[parts->n_growths], *init };
        parts->n_growths++;
        t->shape.dims[0] = parts->rows;
        t->data = NULL; /* it is stored nowhere */
        t->map = NULL;
        FAIL_IF(!lvlm_shape_bytes(&t->n_bytes, &t->shape, t->dtype), err, LVLM_EFORMAT,
                "'%s': a table of %" PRIu64 " rows is too large", t->name, parts->rows);
    }
    return 0;
}

int lvlm_compose_choose_words(lvlm_compose_parts *parts, const lvlm_compose_spec *spec,
                              lvlm_error *err)
{
    const uint64_t stored = parts->sizes.vocabulary;
    parts->image_id = spec->image_id;
    if (spec->image_id_next) TRY(choose_next(parts, spec, err));
    parts->rows = stored;
    if (spec->image_id_next && parts->image_id >= stored)
        parts->rows = parts->image_id + 1;
    parts->rows = lvlm_round_up(parts->rows, spec->vocabulary_multiple);
    if (parts->rows == stored) return 0;
    FAIL_IF(spec->new_rows.kind == LVLM_INIT_NONE, err, LVLM_EFORMAT,
            "image_token.new_rows is missing: mean, zeros or normal:STD; the "
            "table of word vectors grows from %" PRIu64 " to %" PRIu64 " rows",
            stored, parts->rows);
    TRY(grow(parts, COMPOSE_WORDS "embed_tokens.weight", &spec->new_rows, err));
    return grow(parts, COMPOSE_HEAD "weight", &spec->new_rows, err);
}

/* ---- the tokenizer's files ------------------------------------------------------- */

/* How tokenizer.json and tokenizer_config.json describe the image token. */
static cJSON *describe_token(const lvlm_compose_parts *parts,
                             const lvlm_compose_spec *spec, bool with_id)
{
    static const char *const no[] = { "single_word", "lstrip", "rstrip", "normalized" };
    cJSON *const token = cJSON_CreateObject();
    bool ok = token != NULL;
    if (with_id)
        ok = ok &&
             lvlm_json_set(token, "id", cJSON_CreateNumber((double)parts->image_id));
    ok = ok && lvlm_json_set(token, "content", cJSON_CreateString(spec->image_text));
    for (size_t i = 0; i < 4; i++)
        ok = ok && lvlm_json_set(token, no[i], cJSON_CreateBool(false));
    if (ok && lvlm_json_set(token, "special", cJSON_CreateBool(true))) return token;
    lvlm_json_free(token);
    return NULL;
}

/* Add the token to a parsed file; false: out of memory. */
static bool add_token(cJSON *json, const char *name, const lvlm_compose_parts *parts,
                      const lvlm_compose_spec *spec)
{
    char id[24];
    snprintf(id, sizeof id, "%" PRIu64, parts->image_id);
    if (strcmp(name, "added_tokens.json") == 0)
        return lvlm_json_set(json, spec->image_text,
                             cJSON_CreateNumber((double)parts->image_id));
    if (strcmp(name, "tokenizer_config.json") == 0) {
        cJSON *const known =
            cJSON_GetObjectItemCaseSensitive(json, "added_tokens_decoder");
        return known == NULL ||
               lvlm_json_set(known, id, describe_token(parts, spec, false));
    }
    cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "added_tokens");
    if (list == NULL) list = cJSON_AddArrayToObject(json, "added_tokens");
    cJSON *const token = describe_token(parts, spec, true);
    if (list != NULL && token != NULL && cJSON_AddItemToArray(list, token)) return true;
    lvlm_json_free(token);
    return false;
}

int lvlm_compose_added_tokens(char **out, const lvlm_compose_parts *parts,
                              const lvlm_compose_spec *spec, lvlm_error *err)
{
    static const char *const files[] = { "tokenizer.json", "added_tokens.json" };
    *out = NULL;
    if (!parts->adds_token) return 0;
    for (size_t i = 0; i < 2; i++)
        if (lvlm_checkpoint_side_file(parts->text.from, files[i]) != NULL) return 0;
    cJSON *const json = cJSON_CreateObject();
    const int rc = add_token(json, "added_tokens.json", parts, spec)
                       ? lvlm_json_print_pretty(out, json, err)
                       : lvlm_fail_memory(err);
    lvlm_json_free(json);
    return rc;
}

int lvlm_compose_tokenizer(char **out, const lvlm_side_file *file,
                           const lvlm_compose_parts *parts,
                           const lvlm_compose_spec *spec, lvlm_error *err)
{
    static const char *const names[] = { "tokenizer.json", "tokenizer_config.json",
                                         "added_tokens.json" };
    cJSON *json = NULL;
    bool edited = false;
    *out = NULL;
    for (size_t i = 0; i < 3; i++)
        edited |= parts->adds_token && strcmp(file->name, names[i]) == 0;
    if (!edited) return 0;
    TRY(lvlm_side_file_parse(&json, file, err));
    const int rc = add_token(json, file->name, parts, spec)
                       ? lvlm_json_print_pretty(out, json, err)
                       : lvlm_fail_memory(err);
    lvlm_json_free(json);
    return rc;
}
