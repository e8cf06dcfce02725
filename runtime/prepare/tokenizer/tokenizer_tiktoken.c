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

static int read_rank(uint64_t *rank, const char *word, size_t n, size_t line,
                     lvlm_error *err)
{
    *rank = 0;
    for (size_t i = 0; i < n; i++) {
        FAIL_IF(word[i] < '0' || word[i] > '9' || i == 9, err, LVLM_EFORMAT,
                "line %zu: '%.*s' is not a rank", line, (int)(n < 20 ? n : 20), word);
        *rank = *rank * 10 + (uint64_t)(word[i] - '0');
    }
    FAIL_IF(n == 0, err, LVLM_EFORMAT, "line %zu: no rank", line);
    return 0;
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
        TRY(read_rank(&rank, number, n_number, r->line, err));
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

static int add_special(lvlm_tokenizer *t, const char *text, bool normalized,
                       lvlm_error *err)
{
    const added_token token = { .special = true, .normalized = normalized };
    return tokenizer_add(t, text, strlen(text), token, -1, err);
}

/* Add `n` tokens: `format` with the numbers from `first`. */
static int add_numbered(lvlm_tokenizer *t, const char *before, int first, int n,
                        bool normalized, lvlm_error *err)
{
    char text[64];
    for (int i = first; i < first + n; i++) {
        snprintf(text, sizeof text, "%s%d|>", before, i);
        TRY(add_special(t, text, normalized, err));
    }
    return 0;
}

static int add_listed(lvlm_tokenizer *t, const char *const *texts, size_t n,
                      bool normalized, lvlm_error *err)
{
    for (size_t i = 0; i < n; i++) TRY(add_special(t, texts[i], normalized, err));
    return 0;
}

#define N_OF(list) (sizeof(list) / sizeof *(list))

/* Qwen's code applies NFC to the whole text before it searches special tokens, which
 * are therefore "normalized" here; it uses Python's Unicode, we use utf8proc's. */
int tokenizer_read_qwen(lvlm_tokenizer *t, const lvlm_side_file *file, lvlm_error *err)
{
    static const char *const first[] = { "<|endoftext|>", "<|im_start|>",
                                         "<|im_end|>" };
    static const char *const last[] = { "<ref>",  "</ref>", "<box>",
                                        "</box>", "<quad>", "</quad>",
                                        "<img>",  "</img>", "<imgpad>" };
    TRY(read_ranks(&t->model, file, err));
    TRY(normal_form_add(&t->form, NORMAL_NFC, NULL, NULL, err));
    TRY(word_split_add(&t->words, WORD_SPLIT_ISOLATED, TOKENIZER_QWEN_PATTERN, false,
                       err));
    TRY(add_listed(t, first, N_OF(first), true, err));
    TRY(add_numbered(t, "<|extra_", 0, 205, true, err));
    TRY(add_listed(t, last, N_OF(last), true, err));
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
    static const char *const first[] = {
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|reserved_special_token_0|>",
        "<|reserved_special_token_1|>",
        "<|finetune_right_pad_id|>",
        "<|step_id|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eom_id|>",
        "<|eot_id|>",
        "<|python_tag|>",
    };
    TRY(add_listed(t, first, N_OF(first), false, err));
    TRY(add_numbered(t, "<|reserved_special_token_", 2, 245, false, err));
    TRY(add_special(t, "<|image|>", false, err));
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
