/* fuzz_tokenizer.c - any bytes as each of the files of a tokenizer. What opens must
 * take texts and give them back as UTF-8.
 *
 *   1 byte: which file    the rest: its bytes; for merges.txt a vocabulary beside it */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/utf8.h"
#include "runtime/input/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char vocab[] = "{\"a\":0,\"b\":1,\"ab\":2,\"\xc4\xa0\":3}";
static const char *const names[] = { "tokenizer.json", "tokenizer.model",
                                     "qwen.tiktoken", "merges.txt" };
static const char *const texts[] = { "", "ab abba  <s>\n",
                                     "e\u0301 12\u0663 <loc0001><img>a</img>'s",
                                     "<|im_start|>\u2581\u2581b\u180e \U0001f469" };

enum { N_NAMES = 4, N_TEXTS = 4 };

static void there_and_back(const lvlm_tokenizer *tokenizer, const char *words)
{
    lvlm_ids ids = LVLM_IDS_INIT;
    lvlm_strbuf text = LVLM_STRBUF_INIT(1 << 20);
    lvlm_error err;
    lvlm_strbuf_puts(&text, "");
    if (lvlm_tokenizer_encode(tokenizer, &ids, words, strlen(words), NULL, &err) == 0) {
        if (lvlm_tokenizer_decode(tokenizer, &text, ids.at, ids.n, NULL, &err) < 0 ||
            !lvlm_utf8_valid(text.text, text.length))
            abort(); /* its own ids have tokens */
    }
    lvlm_strbuf_free(&text);
    lvlm_ids_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    lvlm_side_file files[] = { { names[data[0] % N_NAMES], data + 1, size - 1 },
                               { "vocab.json", (const unsigned char *)vocab,
                                 strlen(vocab) } };
    const bool with_vocab = data[0] % N_NAMES == N_NAMES - 1;
    const lvlm_checkpoint checkpoint = { .path = "fuzz",
                                         .side_files = files,
                                         .n_side_files = with_vocab ? 2 : 1 };
    lvlm_tokenizer *tokenizer = NULL;
    lvlm_error err = { 0 };
    if (lvlm_tokenizer_open_model(&tokenizer, &checkpoint, &err) < 0) return 0;
    for (size_t i = 0; i < N_TEXTS; i++) there_and_back(tokenizer, texts[i]);
    lvlm_tokenizer_close(tokenizer);
    return 0;
}
