/* fuzz_tokenizer.c - any bytes as each of the files of a tokenizer. A tokenizer that
 * opens must encode texts and decode to UTF-8.
 *
 * The input is one byte that selects the file, and its contents (merges.txt comes with
 * a vocabulary); or { FILE: JSON or text, .. }, several files together. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/utf8.h"
#include "runtime/prepare/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz_kit.h"

static const char vocab[] = "{\"a\":0,\"b\":1,\"ab\":2,\"\xc4\xa0\":3}";
static const char *const names[] = { "tokenizer.json", "tokenizer.model",
                                     "qwen.tiktoken", "merges.txt" };
static const char *const texts[] = { "", "ab abba  <s>\n",
                                     "e\u0301 12\u0663 <loc0001><img>a</img>'s",
                                     "<|im_start|>\u2581\u2581b\u180e \U0001f469" };

enum { N_NAMES = 4, N_TEXTS = 4, MAX_FILES = 8 };

static void round_trip(const lvlm_tokenizer *tokenizer, const char *words)
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

static void open_and_use(const lvlm_side_file *files, size_t n)
{
    const lvlm_checkpoint checkpoint = { .path = "fuzz",
                                         .side_files =
                                             (lvlm_side_file *)(uintptr_t)files,
                                         .n_side_files = n };
    lvlm_tokenizer *tokenizer = NULL;
    if (lvlm_tokenizer_open(&tokenizer, &checkpoint, NULL) < 0) return;
    for (size_t i = 0; i < N_TEXTS; i++) round_trip(tokenizer, texts[i]);
    lvlm_tokenizer_close(tokenizer);
}

static void one_file(const uint8_t *data, size_t size)
{
    const lvlm_side_file files[] = { { names[data[0] % N_NAMES], data + 1, size - 1 },
                                     { "vocab.json", (const unsigned char *)vocab,
                                       strlen(vocab) } };
    open_and_use(files, data[0] % N_NAMES == N_NAMES - 1 ? 2 : 1);
}

static int by_name(const void *a, const void *b)
{
    const lvlm_side_file *const x = a, *const y = b;
    return strcmp(x->name, y->name);
}

static void several_files(const cJSON *json)
{
    lvlm_side_file files[MAX_FILES];
    char *bytes[MAX_FILES];
    const cJSON *item;
    size_t n = 0;
    LVLM_JSON_MEMBERS (item, json) {
        if (n == MAX_FILES) break;
        bytes[n] = kit_text(json, item->string);
        if (bytes[n] == NULL) abort();
        files[n] = (lvlm_side_file){ item->string, (unsigned char *)bytes[n],
                                     strlen(bytes[n]) };
        n++;
    }
    qsort(files, n, sizeof *files, by_name);
    open_and_use(files, n);
    for (size_t i = 0; i < n; i++) lvlm_free(bytes[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cJSON *const json = size > 0 && data[0] == '{' ? kit_parse(data, size) : NULL;
    if (json != NULL)
        several_files(json);
    else if (size > 0)
        one_file(data, size);
    lvlm_json_free(json);
    return 0;
}
