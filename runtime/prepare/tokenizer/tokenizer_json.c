/* tokenizer_json.c - reads tokenizer.json of the tokenizers library, as far as models
 * with images need it.
 *
 *   added_tokens   id, content, special, normalized, lstrip, rstrip, single_word
 *   normalizer     null, NFC, Replace (a string), Prepend, Sequence
 *   pre_tokenizer  null, Split (a string or a pattern), ByteLevel at the end, Sequence
 *   model          BPE: vocab, merges as "a b" or ["a", "b"], byte_fallback, unk_token,
 *                  fuse_unk, ignore_merges
 *   decoder        ByteLevel, or Sequence of Replace, ByteFallback, Fuse, Strip
 *   post_processor, truncation, padding: not used; nothing is added to a text
 *
 * Anything else is refused by name because it would change ids. */
#include <inttypes.h>
#include <string.h>

#include "formats/base/json.h"
#include "runtime/prepare/tokenizer/byte_level.h"
#include "runtime/prepare/tokenizer/tokenizer_parts.h"

/* ---- small readers --------------------------------------------------------------- */

static const char *type_of(const cJSON *json)
{
    const char *const type = lvlm_json_string(lvlm_json_get(json, "type"));
    return type != NULL ? type : "?";
}

static bool is_type(const cJSON *json, const char *type)
{
    return strcmp(type_of(json), type) == 0;
}

static bool is_true(const cJSON *object, const char *key)
{
    return cJSON_IsTrue(lvlm_json_get(object, key));
}

/* Call `read` for `json`, or for each step of a Sequence of them. */
static int read_sequence(lvlm_tokenizer *t, const cJSON *json, const char *list,
                         int (*read)(lvlm_tokenizer *, const cJSON *, lvlm_error *),
                         lvlm_error *err)
{
    const cJSON *step;
    if (json == NULL || cJSON_IsNull(json)) return 0;
    if (!is_type(json, "Sequence")) return read(t, json, err);
    LVLM_JSON_ITEMS (step, lvlm_json_get(json, list)) TRY(read(t, step, err));
    return 0;
}

/* ---- normalizer, pre_tokenizer, decoder ------------------------------------------ */

static int read_normalizer(lvlm_tokenizer *t, const cJSON *json, lvlm_error *err)
{
    if (is_type(json, "NFC"))
        return normal_form_add(&t->form, NORMAL_NFC_UNICODE_9, NULL, NULL, err);
    if (is_type(json, "Prepend")) {
        const char *const text = lvlm_json_string(lvlm_json_get(json, "prepend"));
        if (text != NULL)
            return normal_form_add(&t->form, NORMAL_PREPEND, NULL, text, err);
    }
    if (is_type(json, "Replace")) {
        const char *const from =
            lvlm_json_string(lvlm_json_path(json, "pattern.String"));
        const char *const to = lvlm_json_string(lvlm_json_get(json, "content"));
        if (from != NULL && *from != '\0' && to != NULL)
            return normal_form_add(&t->form, NORMAL_REPLACE, from, to, err);
    }
    return lvlm_fail(err, LVLM_EFORMAT, "normalizer %s of this form is not supported",
                     type_of(json));
}

static int read_split(lvlm_tokenizer *t, const cJSON *json, lvlm_error *err)
{
    static const struct {
        const char *name;
        word_split_kind kind;
    } kinds[] = {
        { "Isolated", WORD_SPLIT_ISOLATED },
        { "Removed", WORD_SPLIT_REMOVED },
        { "MergedWithPrevious", WORD_SPLIT_MERGED_WITH_PREVIOUS },
    };
    const char *const literal =
        lvlm_json_string(lvlm_json_path(json, "pattern.String"));
    const char *const pattern = lvlm_json_string(lvlm_json_path(json, "pattern.Regex"));
    const char *const behavior = lvlm_json_string(lvlm_json_get(json, "behavior"));
    FAIL_IF(behavior == NULL || (literal == NULL && pattern == NULL), err, LVLM_EFORMAT,
            "pre_tokenizer Split without pattern or behavior");
    FAIL_IF(is_true(json, "invert"), err, LVLM_EFORMAT,
            "pre_tokenizer Split with invert is not supported");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(behavior, kinds[i].name) == 0)
            return word_split_add(&t->words, kinds[i].kind,
                                  literal != NULL ? literal : pattern, literal != NULL,
                                  err);
    return lvlm_fail(err, LVLM_EFORMAT,
                     "pre_tokenizer Split: behavior %s is not supported", behavior);
}

/* GPT-2's pattern, which ByteLevel uses unless use_regex is false. */
static const char gpt2_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| "
                                   "?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static int read_byte_level(lvlm_tokenizer *t, const cJSON *json, lvlm_error *err)
{
    FAIL_IF(is_true(json, "add_prefix_space"), err, LVLM_EFORMAT,
            "pre_tokenizer ByteLevel with add_prefix_space is not supported");
    t->model.bytes = t->model.byte_alphabet = true;
    if (cJSON_IsFalse(lvlm_json_get(json, "use_regex"))) return 0;
    return word_split_add(&t->words, WORD_SPLIT_ISOLATED, gpt2_pattern, false, err);
}

static int read_pre_tokenizer(lvlm_tokenizer *t, const cJSON *json, lvlm_error *err)
{
    FAIL_IF(t->model.bytes, err, LVLM_EFORMAT,
            "pre_tokenizer %s after ByteLevel is not supported", type_of(json));
    if (is_type(json, "Split")) return read_split(t, json, err);
    if (is_type(json, "ByteLevel")) return read_byte_level(t, json, err);
    return lvlm_fail(err, LVLM_EFORMAT, "pre_tokenizer %s is not supported",
                     type_of(json));
}

static bool is_string(const cJSON *json, const char *path, const char *expected)
{
    const char *const text = lvlm_json_string(lvlm_json_path(json, path));
    return text != NULL && strcmp(text, expected) == 0;
}

static bool is_number(const cJSON *json, const char *key, uint64_t expected)
{
    uint64_t value;
    return lvlm_json_u64(&value, lvlm_json_get(json, key)) && value == expected;
}

static int read_decoder(lvlm_tokenizer *t, const cJSON *json, lvlm_error *err)
{
    if (is_type(json, "ByteLevel") && t->model.bytes) {
        t->spelling = SPELLING_ALPHABET;
        return 0;
    }
    if (is_type(json, "Replace") &&
        is_string(json, "pattern.String", TOKENIZER_SPACE_MARK) &&
        is_string(json, "content", " ")) {
        t->spelling = SPELLING_SPACES;
        t->broken = BROKEN_BY_RUN;
        return 0;
    }
    if (is_type(json, "ByteFallback") || is_type(json, "Fuse")) return 0;
    if (is_type(json, "Strip") && is_string(json, "content", " ") &&
        is_number(json, "start", 1) && is_number(json, "stop", 0)) {
        t->cut = CUT_ONE;
        return 0;
    }
    return lvlm_fail(err, LVLM_EFORMAT, "decoder %s of this form is not supported",
                     type_of(json));
}

/* ---- model ----------------------------------------------------------------------- */

int tokenizer_read_vocab(vocabulary *vocab, const cJSON *json, lvlm_error *err)
{
    const cJSON *item;
    FAIL_IF(lvlm_json_first_member(json) == NULL, err, LVLM_EFORMAT,
            "there is no vocab");
    LVLM_JSON_MEMBERS (item, json) {
        uint64_t id;
        FAIL_IF(!lvlm_json_u64(&id, item), err, LVLM_EFORMAT,
                "vocab: the id of '%.60s' is not a number", item->string);
        TRY(vocabulary_add(vocab, item->string, strlen(item->string), id, err));
    }
    return 0;
}

/* "a b" or ["a", "b"]. */
static int read_merge(bpe *model, const cJSON *json, size_t rank, lvlm_error *err)
{
    const char *const text = lvlm_json_string(json);
    const char *const left = lvlm_json_string(lvlm_json_item(json, 0));
    const char *const right = lvlm_json_string(lvlm_json_item(json, 1));
    if (text != NULL) return tokenizer_read_merge(model, text, strlen(text), rank, err);
    FAIL_IF(left == NULL || right == NULL || lvlm_json_count(json) != 2, err,
            LVLM_EFORMAT, "merge %zu is not two strings", rank);
    return bpe_add_merge(model, left, strlen(left), right, strlen(right), rank, err);
}

static int read_merges(bpe *model, const cJSON *json, lvlm_error *err)
{
    const cJSON *item;
    size_t rank = 0;
    FAIL_IF(!cJSON_IsArray(json), err, LVLM_EFORMAT, "the model has no merges");
    TRY(bpe_reserve_merges(model, lvlm_json_count(json), err));
    LVLM_JSON_ITEMS (item, json) TRY(read_merge(model, item, rank++, err));
    return 0;
}

static bool has_text(const cJSON *json, const char *key)
{
    const char *const text = lvlm_json_string(lvlm_json_get(json, key));
    return text != NULL && *text != '\0';
}

static int check_model(const cJSON *json, lvlm_error *err)
{
    double dropout = 0;
    const cJSON *const type = lvlm_json_get(json, "type");
    FAIL_IF(type != NULL && !is_type(json, "BPE"), err, LVLM_EFORMAT,
            "model %s is not supported, only BPE", type_of(json));
    FAIL_IF(has_text(json, "continuing_subword_prefix") ||
                has_text(json, "end_of_word_suffix"),
            err, LVLM_EFORMAT, "a BPE with subword prefix or suffix is not supported");
    FAIL_IF(lvlm_json_double(&dropout, lvlm_json_get(json, "dropout")) && dropout != 0,
            err, LVLM_EFORMAT, "a BPE with dropout is not supported");
    return 0;
}

static int read_model(bpe *model, const cJSON *json, lvlm_error *err)
{
    const char *const unk = lvlm_json_string(lvlm_json_get(json, "unk_token"));
    TRY(check_model(json, err));
    TRY(tokenizer_read_vocab(&model->vocab, lvlm_json_get(json, "vocab"), err));
    TRY(read_merges(model, lvlm_json_get(json, "merges"), err));
    model->byte_fallback = is_true(json, "byte_fallback");
    model->fuse_unk = is_true(json, "fuse_unk");
    model->whole_first = is_true(json, "ignore_merges");
    const bool has_all_bytes = bpe_find_bytes(model) == 256;
    if (unk == NULL || (model->bytes && has_all_bytes)) return 0;
    model->unk = vocabulary_find(&model->vocab, unk, strlen(unk));
    FAIL_IF(model->unk == VOCABULARY_NO_ID, err, LVLM_EFORMAT,
            "unk_token '%.60s' is not in the vocab", unk);
    return 0;
}

/* ---- added tokens ---------------------------------------------------------------- */

static int read_added_tokens(lvlm_tokenizer *t, const cJSON *json, lvlm_error *err)
{
    const cJSON *item;
    LVLM_JSON_ITEMS (item, json) {
        const char *text;
        added_token token;
        uint64_t id;
        TRY(tokenizer_read_added(&text, &token, item, err));
        FAIL_IF(!lvlm_json_u64(&id, lvlm_json_get(item, "id")), err, LVLM_EFORMAT,
                "added token '%.60s' has no id", text);
        TRY(tokenizer_add(t, text, strlen(text), token, (int64_t)id, err));
    }
    return 0;
}

static int read_parts(lvlm_tokenizer *t, const cJSON *json, lvlm_error *err)
{
    TRY(read_sequence(t, lvlm_json_get(json, "normalizer"), "normalizers",
                      read_normalizer, err));
    TRY(read_sequence(t, lvlm_json_get(json, "pre_tokenizer"), "pretokenizers",
                      read_pre_tokenizer, err));
    TRY(read_sequence(t, lvlm_json_get(json, "decoder"), "decoders", read_decoder,
                      err));
    TRY(read_model(&t->model, lvlm_json_get(json, "model"), err));
    return read_added_tokens(t, lvlm_json_get(json, "added_tokens"), err);
}

int tokenizer_read_json(lvlm_tokenizer *t, const lvlm_side_file *file, lvlm_error *err)
{
    cJSON *json = NULL;
    TRY(lvlm_json_parse(&json, (const char *)file->bytes, file->n_bytes, err));
    const int rc = read_parts(t, json, err);
    lvlm_json_free(json);
    return rc;
}
