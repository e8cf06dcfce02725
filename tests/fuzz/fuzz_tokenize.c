/* fuzz_tokenize.c - any bytes as a text. UTF-8 is restored by decoding, whole or id by
 * id; everything else is refused. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/utf8.h"
#include "runtime/prepare/tokenizer/byte_level.h"
#include "runtime/prepare/tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Llama 3's pattern, a few merges, tokens with every flag. */
static void put_tokenizer(lvlm_strbuf *json)
{
    char spelled[2];
    lvlm_strbuf_puts(
        json,
        "{\"added_tokens\":[{\"id\":261,\"content\":\"<s>\",\"special\":true},"
        "{\"id\":262,\"content\":\"<s><t>\"},{\"id\":263,\"content\":\"dog\","
        "\"single_word\":true}],\"pre_tokenizer\":{\"type\":\"Sequence\","
        "\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?i:'s|'t|'re|"
        "'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| ?[^\\\\s"
        "\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},"
        "\"behavior\":\"Isolated\"},{\"type\":\"ByteLevel\",\"use_regex\":false}]},"
        "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{");
    for (unsigned byte = 0; byte < 256; byte++) {
        const size_t n = byte_level_spell(spelled, (unsigned char)byte);
        lvlm_strbuf_printf(json, "\"%s%.*s\":%u,",
                           byte == '"' || byte == '\\' ? "\\" : "", (int)n, spelled,
                           byte);
    }
    lvlm_strbuf_puts(json, "\"\u0120\u0120\":256,\"ca\":257,\"at\":258,\"cat\":259,"
                           "\"\u0120c\":260},\"merges\":[\"\u0120 \u0120\",\"a t\","
                           "\"c at\",\"\u0120 c\",\"c a\"]}}");
}

static lvlm_tokenizer *open_tokenizer(void)
{
    lvlm_strbuf json = LVLM_STRBUF_INIT(1 << 20);
    lvlm_tokenizer *tokenizer = NULL;
    lvlm_error err = { 0 };
    put_tokenizer(&json);
    lvlm_side_file file = { "tokenizer.json", (const unsigned char *)json.text,
                            json.length };
    const lvlm_checkpoint checkpoint = { .path = "fuzz",
                                         .side_files = &file,
                                         .n_side_files = 1 };
    if (lvlm_tokenizer_open(&tokenizer, &checkpoint, &err) < 0) abort();
    lvlm_strbuf_free(&json);
    return tokenizer;
}

static void expect_text(const lvlm_strbuf *text, const uint8_t *data, size_t size)
{
    if (text->length != size || (size > 0 && memcmp(text->text, data, size) != 0))
        abort();
}

static void decode_both_ways(const lvlm_tokenizer *tokenizer, const lvlm_ids *ids,
                             const uint8_t *data, size_t size)
{
    lvlm_strbuf whole = LVLM_STRBUF_INIT(1 << 24), steps = LVLM_STRBUF_INIT(1 << 24);
    lvlm_text_stream stream;
    lvlm_text_stream_init(&stream, tokenizer, NULL);
    if (lvlm_tokenizer_decode(tokenizer, &whole, ids->at, ids->n, NULL, NULL) < 0)
        abort();
    expect_text(&whole, data, size);
    for (size_t i = 0; i < ids->n; i++)
        if (lvlm_text_stream_put(&stream, &steps, ids->at[i], NULL) < 0 ||
            !lvlm_utf8_valid(steps.text, steps.length))
            abort();
    if (lvlm_text_stream_end(&stream, &steps, NULL) < 0) abort();
    expect_text(&steps, data, size);
    lvlm_text_stream_free(&stream);
    lvlm_strbuf_free(&whole);
    lvlm_strbuf_free(&steps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lvlm_tokenizer *tokenizer; /* opened once: only texts vary */
    if (tokenizer == NULL) tokenizer = open_tokenizer();
    lvlm_ids ids = LVLM_IDS_INIT;
    const int rc =
        lvlm_tokenizer_encode(tokenizer, &ids, (const char *)data, size, NULL, NULL);
    if ((rc == 0) != lvlm_utf8_valid((const char *)data, size)) abort();
    if (rc == 0) decode_both_ways(tokenizer, &ids, data, size);
    lvlm_ids_free(&ids);
    return 0;
}
