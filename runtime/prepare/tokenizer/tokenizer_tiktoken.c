/* tokenizer_tiktoken.c - reads files of ranks: qwen.tiktoken and Llama 3's
 * tokenizer.model.
 *
 *   one token per line: its bytes in base64, a space, its rank, which is its id
 *
 * Two neighbours merge if their concatenation has a rank, lowest first. Words are split
 * by Qwen2's or Llama 3's pattern. Special tokens follow the last rank; they are
 * defined in the reference implementation's code or in tokenizer_config.json. */
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "runtime/prepare/tokenizer/tokenizer_parts.h"

/* Limit of a token in base64; the longest of a known model has 171. */
enum { MAX_BASE64 = 4096 };

/* ---- ranks ----------------------------------------------------------------------- */

/* The remaining file. */
typedef struct reader {
    const char *at, *end;
    size_t line;
} reader;

/* The next word of the line, or nothing at its end. */
static size_t read_word(const char **word, reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
    *word = r->at;
    while (r->at < r->end && (unsigned char)*r->at > ' ') r->at++;
    return (size_t)(r->at - *word);
}

static int read_line(vocabulary *vocab, reader *r, lvlm_error *err)
{
    unsigned char bytes[MAX_BASE64];
    const char *text, *number, *rest;
    uint64_t rank;
    const size_t n = read_word(&text, r);
    if (n > 0) {
        const size_t n_number = read_word(&number, r);
        FAIL_IF(n > MAX_BASE64 || n % 4 != 0, err, LVLM_EFORMAT,
                "line %zu: not base64, or over %d characters", r->line, MAX_BASE64);
        const int decoded = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)n);
        FAIL_IF(decoded < 0, err, LVLM_EFORMAT, "line %zu: not base64", r->line);
        const size_t padding = text[n - 1] != '=' ? 0 : text[n - 2] != '=' ? 1 : 2;
        FAIL_IF(n_number == 0, err, LVLM_EFORMAT, "line %zu: no rank", r->line);
        FAIL_IF(!tokenizer_parse_number(&rank, number, n_number), err, LVLM_EFORMAT,
                "line %zu: '%.*s' is not a rank", r->line,
                (int)(n_number < 20 ? n_number : 20), number);
        const int rc = vocabulary_add(vocab, (const char *)bytes,
                                      (size_t)decoded - padding, rank, err);
        if (rc < 0) lvlm_prefix(err, "line %zu: ", r->line);
        if (rc < 0) return rc;
    }
    FAIL_IF(read_word(&rest, r) > 0, err, LVLM_EFORMAT,
            "line %zu: more than a token and its rank", r->line);
    FAIL_IF(r->at < r->end && *r->at != '\n', err, LVLM_EFORMAT,
            "line %zu: byte 0x%02x", r->line, (unsigned char)*r->at);
    return 0;
}

static int read_ranks(bpe *model, const lvlm_side_file *file, lvlm_error *err)
{
    reader r = { (const char *)file->bytes, (const char *)file->bytes + file->n_bytes,
                 1 };
    for (; r.at < r.end; r.at++, r.line++) TRY(read_line(&model->vocab, &r, err));
    const size_t n = model->vocab.n_ids;
    FAIL_IF(n == 0, err, LVLM_EFORMAT, "no token");
    FAIL_IF(n != model->vocab.n, err, LVLM_EFORMAT,
            "the %zu tokens have ranks up to %zu: there are gaps", model->vocab.n,
            n - 1);
    if ((model->rank_of = lvlm_calloc(n, sizeof *model->rank_of)) == NULL)
        return lvlm_fail_memory(err);
    for (size_t id = 0; id < n; id++) model->rank_of[id] = (uint32_t)id;
    for (unsigned byte = 0; byte < 256; byte++) {
        const char one = (char)byte;
        model->byte_ids[byte] = vocabulary_find(&model->vocab, &one, 1);
        FAIL_IF(model->byte_ids[byte] == VOCABULARY_NO_ID, err, LVLM_EFORMAT,
                "byte 0x%02x is not a token", byte);
    }
    model->bytes = true;
    model->whole_first = true;
    return 0;
}

/* ---- special tokens -------------------------------------------------------------- */

/* One token, or `n` of them: "before0|>", "before1|>", ..., from `first`. */
typedef struct special_row {
    const char *text;
    int first, n;
} special_row;

static int add_specials(lvlm_tokenizer *t, const special_row *rows, bool normalized,
                        lvlm_error *err)
{
    const added_token token = { .special = true, .normalized = normalized };
    char text[64];
    for (; rows->text != NULL; rows++) {
        for (int i = rows->first; i < rows->first + rows->n; i++) {
            snprintf(text, sizeof text, "%s%d|>", rows->text, i);
            TRY(tokenizer_add(t, text, strlen(text), token, -1, err));
        }
        if (rows->n == 0)
            TRY(tokenizer_add(t, rows->text, strlen(rows->text), token, -1, err));
    }
    return 0;
}

/* Qwen's code applies NFC to the whole text before it searches special tokens, which
 * are therefore "normalized" here; it uses Python's Unicode, we use utf8proc's. */
int tokenizer_read_qwen(lvlm_tokenizer *t, const lvlm_side_file *file, lvlm_error *err)
{
    static const special_row specials[] = {
        { "<|endoftext|>", 0, 0 }, { "<|im_start|>", 0, 0 }, { "<|im_end|>", 0, 0 },
        { "<|extra_", 0, 205 },    { "<ref>", 0, 0 },        { "</ref>", 0, 0 },
        { "<box>", 0, 0 },         { "</box>", 0, 0 },       { "<quad>", 0, 0 },
        { "</quad>", 0, 0 },       { "<img>", 0, 0 },        { "</img>", 0, 0 },
        { "<imgpad>", 0, 0 },      { NULL, 0, 0 },
    };
    TRY(read_ranks(&t->model, file, err));
    TRY(normal_form_add(&t->form, NORMAL_NFC, NULL, NULL, err));
    TRY(word_split_add(&t->words, WORD_SPLIT_ISOLATED, TOKENIZER_QWEN_PATTERN, false,
                       err));
    TRY(add_specials(t, specials, true, err));
    for (size_t i = LVLM_TOKEN_EOS; i < LVLM_N_TOKEN_ROLES; i++)
        t->roles[i] = lvlm_tokenizer_id(t, "<|endoftext|>");
    t->images.start = lvlm_tokenizer_id(t, "<img>");
    t->images.end = lvlm_tokenizer_id(t, "</img>");
    t->images.pad = lvlm_tokenizer_id(t, "<imgpad>");
    return 0;
}

/* In the order of the released models with images: <|image|> is the last. */
static int add_llama3(lvlm_tokenizer *t, lvlm_error *err)
{
    static const special_row specials[] = {
        { "<|begin_of_text|>", 0, 0 },
        { "<|end_of_text|>", 0, 0 },
        { "<|reserved_special_token_", 0, 2 },
        { "<|finetune_right_pad_id|>", 0, 0 },
        { "<|step_id|>", 0, 0 },
        { "<|start_header_id|>", 0, 0 },
        { "<|end_header_id|>", 0, 0 },
        { "<|eom_id|>", 0, 0 },
        { "<|eot_id|>", 0, 0 },
        { "<|python_tag|>", 0, 0 },
        { "<|reserved_special_token_", 2, 245 },
        { "<|image|>", 0, 0 },
        { NULL, 0, 0 },
    };
    TRY(add_specials(t, specials, false, err));
    t->roles[LVLM_TOKEN_BOS] = lvlm_tokenizer_id(t, "<|begin_of_text|>");
    t->roles[LVLM_TOKEN_EOS] = lvlm_tokenizer_id(t, "<|end_of_text|>");
    t->roles[LVLM_TOKEN_PAD] = lvlm_tokenizer_id(t, "<|finetune_right_pad_id|>");
    return 0;
}

int tokenizer_read_llama3(lvlm_tokenizer *t, const lvlm_side_file *file,
                          const cJSON *config, lvlm_error *err)
{
    TRY(read_ranks(&t->model, file, err));
    TRY(word_split_add(&t->words, WORD_SPLIT_ISOLATED, TOKENIZER_LLAMA3_PATTERN, false,
                       err));
    return lvlm_json_get(config, "added_tokens_decoder") != NULL ? 0
                                                                 : add_llama3(t, err);
}
