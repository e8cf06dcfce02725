/* tokenizer_config.c - tokens in the files next to the vocabulary.
 *
 *   tokenizer_config.json    added_tokens_decoder: { ID: flags and text }; bos_token,
 *                            eos_token, any other "..._token"; lists of more
 *   special_tokens_map.json  the same except the first, and
 *   added_tokens.json        { TEXT: ID }: both only if there is no
 *                            added_tokens_decoder
 *
 * Tokens missing in the vocabulary are added in transformers' order: by id, then by
 * role, then from the lists. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/keys.h"
#include "formats/base/text.h"
#include "runtime/prepare/tokenizer/tokenizer_parts.h"

enum { N_ROLE_KEYS = 7, NO_ROLE = -1 };

/* Keys of special tokens that every tokenizer may have. */
static const struct role_key {
    const char *name;
    int role; /* a lvlm_token_role, or NO_ROLE */
} role_keys[N_ROLE_KEYS] = {
    { "bos_token", LVLM_TOKEN_BOS }, { "eos_token", LVLM_TOKEN_EOS },
    { "unk_token", LVLM_TOKEN_UNK }, { "sep_token", NO_ROLE },
    { "pad_token", LVLM_TOKEN_PAD }, { "cls_token", NO_ROLE },
    { "mask_token", NO_ROLE },
};

#define INERT LVLM_KEY_INERT
#define NOTED LVLM_KEY_NOTED
#define FILES "the files are those that are here"
#define AS_IS "texts are cut and decoded as the vocabulary's file says"

// clang-format off
static const lvlm_key config_keys[] = {
    { "added_tokens_decoder" },
    { "extra_special_tokens" },
    { "additional_special_tokens" },
    { "model_specific_special_tokens", INERT, "the same tokens by name" },
    { "*_token" },
    { "add_bos_token" }, /* these two are read where prompts are composed */
    { "add_eos_token" },
    { "chat_template", INERT, "is read where prompts are written" },
    { "tokenizer_class", INERT, "the files say it" },
    { "processor_class", INERT, "the class is the family's" },
    { "auto_map", INERT, "code of the model's own is not run" },
    { "_*", INERT, FILES },
    { "*_token_id", INERT, "follows from the token" },
    { "model_max_length", INERT, "texts are not cut" },
    { "max_length", INERT, "texts are not cut" },
    { "max_pixels", INERT, "of the image processor" },
    { "min_pixels", INERT, "of the image processor" },
    { "model_input_names", INERT, "the model says it" },
    { "image_seq_length", INERT, "follows from image and patches" },
    { "padding_side", INERT, "texts are not padded" },
    { "truncation*", INERT, "texts are not cut" },
    { "pad_to_multiple_of", INERT, "texts are not padded" },
    { "stride", INERT, "texts are not cut" },
    { "clean_up_tokenization_spaces", INERT, "only of plain decoding in Python" },
    { "spaces_between_special_tokens", INERT, "only of slow tokenizers" },
    { "errors", INERT, "broken text is replaced" },
    { "use_default_system_prompt", INERT, "the template says it" },
    { "local_files_only", INERT, "where files come from" },
    { "legacy", INERT, "the tokenizer is the fast one" },
    { "from_slow", INERT, "the tokenizer is the fast one" },
    { "use_fast", INERT, "the tokenizer is the fast one" },
    { "backend", INERT, "the tokenizer is the fast one" },
    { "is_local", INERT, FILES },
    { "name_or_path", INERT, FILES },
    { "tokenizer_file", INERT, FILES },
    { "special_tokens_map_file", INERT, FILES },
    { "device_map", INERT, FILES },
    { "transformers_version", INERT, FILES },
    { "split_special_tokens", NOTED, "tokens in a text are recognised", "false" },
    { "sp_model_kwargs", NOTED, AS_IS, "{}" },
    { "add_prefix_space", NOTED, AS_IS, "false" },
    { "do_lower_case", NOTED, AS_IS, "false" },
    { "strip_accents", NOTED, AS_IS, "false" },
    { "remove_space", NOTED, AS_IS, "false" },
    { NULL },
};
// clang-format on

int tokenizer_note_config(const cJSON *config, lvlm_notes *notes, lvlm_error *err)
{
    return lvlm_keys_check(config, "tokenizer_config.json", config_keys, notes, err);
}

static bool is_legacy(const tokenizer_files *files)
{
    return lvlm_json_get(files->config, "added_tokens_decoder") == NULL;
}

/* The value of `key`; special_tokens_map.json precedes if it is used. */
static const cJSON *setting(const tokenizer_files *files, const char *key)
{
    const cJSON *const found =
        is_legacy(files) ? lvlm_json_get(files->special_map, key) : NULL;
    return found != NULL ? found : lvlm_json_get(files->config, key);
}

/* A token as a string, or as an object with its text; NULL: neither. */
static const char *text_of(const cJSON *json)
{
    return cJSON_IsObject(json) ? lvlm_json_string(lvlm_json_get(json, "content"))
                                : lvlm_json_string(json);
}

static int add_special(lvlm_tokenizer *t, const cJSON *json, lvlm_error *err)
{
    const char *text = text_of(json);
    added_token token = { .special = true };
    if (text == NULL || *text == '\0') return 0;
    if (cJSON_IsObject(json)) TRY(tokenizer_read_added(&text, &token, json, err));
    token.special = true;
    return tokenizer_add(t, text, strlen(text), token, -1, err);
}

/* ---- by id ----------------------------------------------------------------------- */

typedef struct numbered {
    int64_t id;
    const cJSON *item;
} numbered;

static int by_id(const void *a, const void *b)
{
    const numbered *const x = a, *const y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool is_in_list(const cJSON *list, const char *text)
{
    const cJSON *item;
    LVLM_JSON_ITEMS (item, list) {
        const char *const listed = text_of(item);
        if (listed != NULL && strcmp(listed, text) == 0) return true;
    }
    return false;
}

static bool is_named_special(const tokenizer_files *files, const char *text)
{
    for (size_t i = 0; i < N_ROLE_KEYS; i++) {
        const char *const role = text_of(setting(files, role_keys[i].name));
        if (role != NULL && strcmp(role, text) == 0) return true;
    }
    return is_in_list(setting(files, "extra_special_tokens"), text) ||
           is_in_list(setting(files, "additional_special_tokens"), text);
}

/* "ID": { flags and text } of added_tokens_decoder, or "TEXT": ID of
 * added_tokens.json. */
static int read_id(int64_t *id, const cJSON *item, bool legacy, lvlm_error *err)
{
    uint64_t value = 0;
    FAIL_IF(
        !legacy && !tokenizer_parse_number(&value, item->string, strlen(item->string)),
        err, LVLM_EFORMAT,
        "tokenizer_config.json: added_tokens_decoder: '%.40s' is not an id",
        item->string);
    FAIL_IF(legacy && (!lvlm_json_u64(&value, item) || value > INT32_MAX), err,
            LVLM_EFORMAT, "added_tokens.json: '%.40s' has no id", item->string);
    *id = (int64_t)value;
    return 0;
}

static int add_numbered(lvlm_tokenizer *t, const tokenizer_files *files,
                        const numbered *at, lvlm_error *err)
{
    const char *text = at->item->string;
    added_token token = { .special = false };
    if (is_legacy(files)) {
        token.special = is_named_special(files, text);
        token.normalized = !token.special;
    } else {
        TRY(tokenizer_read_added(&text, &token, at->item, err));
    }
    return tokenizer_add(t, text, strlen(text), token, at->id, err);
}

/* Add the tokens that have an id in the files, in order of their ids. */
static int add_by_id(lvlm_tokenizer *t, const tokenizer_files *files, lvlm_error *err)
{
    const bool legacy = is_legacy(files);
    const cJSON *const json =
        legacy ? files->added : lvlm_json_get(files->config, "added_tokens_decoder");
    const cJSON *item;
    size_t n = 0;
    int rc = 0;
    if (lvlm_json_first_member(json) == NULL) return 0;
    numbered *const list = lvlm_calloc(lvlm_json_count_members(json), sizeof *list);
    if (list == NULL) return lvlm_fail_memory(err);
    LVLM_JSON_MEMBERS (item, json) {
        list[n].item = item;
        if ((rc = read_id(&list[n++].id, item, legacy, err)) < 0) goto done;
    }
    qsort(list, n, sizeof *list, by_id);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = add_numbered(t, files, &list[i], err);
done:
    lvlm_free(list);
    return rc;
}

/* ---- by key, and from lists ----------------------------------------------------- */

static bool is_role_key(const char *name)
{
    for (size_t i = 0; i < N_ROLE_KEYS; i++)
        if (strcmp(role_keys[i].name, name) == 0) return true;
    return false;
}

/* Set the role of a key. Qwen2's class uses the end of text for those that are not
 * given. */
static int set_role(lvlm_tokenizer *t, const struct role_key *key,
                    const tokenizer_files *files, lvlm_error *err)
{
    const added_token special = { .special = true };
    const cJSON *const json = setting(files, key->name);
    const char *text = text_of(json);
    if (key->role == NO_ROLE) return 0;
    if (json == NULL && key->role != LVLM_TOKEN_BOS && t->end_of_text != NULL) {
        text = t->end_of_text;
        TRY(tokenizer_add(t, text, strlen(text), special, -1, err));
    }
    if (text != NULL) t->roles[key->role] = lvlm_tokenizer_id(t, text);
    return 0;
}

/* Tokens of a particular model: "image_token" and the like. */
static int add_own_roles(lvlm_tokenizer *t, const cJSON *config, lvlm_error *err)
{
    const cJSON *item;
    LVLM_JSON_MEMBERS (item, config)
        if (lvlm_ends_with(item->string, "_token") && !is_role_key(item->string))
            TRY(add_special(t, item, err));
    return 0;
}

/* A list of tokens, or an object of named ones. */
static int add_list(lvlm_tokenizer *t, const cJSON *list, lvlm_error *err)
{
    const cJSON *item;
    LVLM_JSON_ITEMS (item, list) TRY(add_special(t, item, err));
    LVLM_JSON_MEMBERS (item, list) TRY(add_special(t, item, err));
    return 0;
}

int tokenizer_apply_config(lvlm_tokenizer *t, const tokenizer_files *files,
                           lvlm_error *err)
{
    TRY(add_by_id(t, files, err));
    for (size_t i = 0; i < N_ROLE_KEYS; i++)
        TRY(add_special(t, setting(files, role_keys[i].name), err));
    for (size_t i = 0; i < N_ROLE_KEYS; i++)
        TRY(set_role(t, &role_keys[i], files, err));
    TRY(add_own_roles(t, files->config, err));
    TRY(add_list(t, setting(files, "extra_special_tokens"), err));
    TRY(add_list(t, setting(files, "additional_special_tokens"), err));
    return 0;
}
