/* tokenizer_vocab.c - vocab.json and merges.txt, a byte-level BPE with Qwen2's pattern.
 *
 *   vocab.json    { TOKEN: ID, ... } in the byte alphabet
 *   merges.txt    a first line "#version: 0.2", or none; then "LEFT RIGHT" per line */
#include <string.h>

#include "formats/base/json.h"
#include "formats/container/side_file.h"
#include "runtime/prepare/tokenizer/tokenizer_parts.h"

static const char *line_end(const char *at, const char *end)
{
    const char *const found = memchr(at, '\n', (size_t)(end - at));
    return found != NULL ? found : end;
}

static size_t count_lines(const char *at, const char *end)
{
    size_t n = 0;
    for (; at < end; at = line_end(at, end) + 1) n++;
    return n;
}

int tokenizer_read_merge(bpe *model, const char *text, size_t n_bytes, size_t rank,
                         lvlm_error *err)
{
    const char *const end = text + n_bytes, *const space = memchr(text, ' ', n_bytes);
    FAIL_IF(space == NULL || memchr(space + 1, ' ', (size_t)(end - space - 1)) != NULL,
            err, LVLM_EFORMAT, "merge %zu is not two words", rank);
    return bpe_add_merge(model, text, (size_t)(space - text), space + 1,
                         (size_t)(end - space - 1), rank, err);
}

static int read_merges(bpe *model, const char *at, const char *end, lvlm_error *err)
{
    static const char version[] = "#version";
    size_t rank = 0;
    TRY(bpe_reserve_merges(model, count_lines(at, end), err));
    for (const char *next; at < end; at = next) {
        const char *stop = line_end(at, end);
        next = stop + 1;
        if (stop > at && stop[-1] == '\r') stop--;
        if ((size_t)(stop - at) >= strlen(version) &&
            memcmp(at, version, strlen(version)) == 0)
            continue;
        TRY(tokenizer_read_merge(model, at, (size_t)(stop - at), rank++, err));
    }
    return 0;
}

static int read_vocab_file(vocabulary *vocab, const lvlm_side_file *file,
                           lvlm_error *err)
{
    cJSON *json = NULL;
    TRY(lvlm_side_file_parse(&json, file, err));
    const int rc = tokenizer_read_vocab(vocab, json, err);
    if (rc < 0) lvlm_prefix(err, "%s: ", file->name);
    lvlm_json_free(json);
    return rc;
}

static int read_merges_file(bpe *model, const lvlm_side_file *file, lvlm_error *err)
{
    const char *const text = (const char *)file->bytes;
    const int rc = read_merges(model, text, text + file->n_bytes, err);
    if (rc < 0) lvlm_prefix(err, "%s: ", file->name);
    return rc;
}

int tokenizer_read_vocab_and_merges(lvlm_tokenizer *t, const lvlm_side_file *vocab,
                                    const lvlm_side_file *merges, lvlm_error *err)
{
    TRY(read_vocab_file(&t->model.vocab, vocab, err));
    TRY(read_merges_file(&t->model, merges, err));
    t->model.bytes = t->model.byte_alphabet = true;
    t->spelling = SPELLING_ALPHABET;
    t->end_of_text = "<|endoftext|>";
    (void)bpe_find_bytes(&t->model);
    TRY(normal_form_add(&t->form, NORMAL_NFC_UNICODE_9, NULL, NULL, err));
    return word_split_add(&t->words, WORD_SPLIT_ISOLATED, TOKENIZER_QWEN_PATTERN, false,
                          err);
}
