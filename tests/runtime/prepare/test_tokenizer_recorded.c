/* test_tokenizer_recorded.c - ten thousand texts in every file format: the ids of the
 * reference, and the text that it decodes from them, in order and reversed, where bytes
 * are not valid characters (fixtures/text_tokenizers.py).
 *
 * Streams must write the same, in complete characters. A mismatch names the text;
 * text_tokenizers.py --show prints the reference's result. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>
#include <zlib.h>

#include "formats/base/alloc.h"
#include "formats/base/bytes.h"
#include "formats/base/infile.h"
#include "formats/base/utf8.h"
#include "tests/runtime/prepare/text_files.h"

#ifndef LVLM_FIXTURES /* set by the build */
#define LVLM_FIXTURES "fixtures"
#endif
#define RECORDED LVLM_FIXTURES "/tokenizers/"

enum { N_TEXTS = 10000, MAX_TEXTS_BYTES = 4 << 20, REFUSED = 1, NOT_RECORDED = 2 };

/* The record of a text in expected.bin. */
enum { CODES_BYTES = 6 };

/* ---- texts ----------------------------------------------------------------------- */

typedef struct recorded_texts {
    unsigned char *bytes;
    const char *at[N_TEXTS];
    size_t n_bytes[N_TEXTS];
} recorded_texts;

static lvlm_infile *open_file(const char *folder, const char *name)
{
    char path[512];
    lvlm_infile *file = NULL;
    snprintf(path, sizeof path, RECORDED "%s%s", folder, name);
    return lvlm_path_exists(path) && lvlm_infile_open(&file, path, NULL) == 0 ? file
                                                                              : NULL;
}

static int read_texts(void **state)
{
    recorded_texts *const texts = lvlm_calloc(1, sizeof *texts);
    lvlm_infile *const file = open_file("", "texts.z");
    uLongf n = MAX_TEXTS_BYTES;
    if (texts == NULL || file == NULL) return -1;
    texts->bytes = lvlm_malloc(MAX_TEXTS_BYTES);
    assert_int_equal(uncompress(texts->bytes, &n, file->bytes, file->n_bytes), Z_OK);
    const unsigned char *at = texts->bytes;
    for (size_t i = 0; i < N_TEXTS; i++) {
        texts->n_bytes[i] = lvlm_load_le(at, 4);
        texts->at[i] = (const char *)at + 4;
        at += 4 + texts->n_bytes[i];
    }
    assert_ptr_equal(at, texts->bytes + n);
    lvlm_infile_close(file);
    *state = texts;
    return 0;
}

static int free_texts(void **state)
{
    recorded_texts *const texts = *state;
    lvlm_free(texts->bytes);
    lvlm_free(texts);
    return 0;
}

/* ---- tokenizers ------------------------------------------------------------------ */

static lvlm_tokenizer *open_recorded(const char *name)
{
    static const char *const names[] = {
        "added_tokens.json",       "merges.txt",     "qwen.tiktoken",
        "special_tokens_map.json", "tokenizer.json", "tokenizer.model",
        "tokenizer_config.json",   "vocab.json"
    };
    enum { N_NAMES = sizeof names / sizeof *names };
    lvlm_infile *open[N_NAMES];
    lvlm_side_file files[N_NAMES];
    size_t n = 0;
    cJSON *config = NULL;
    lvlm_tokenizer *tokenizer = NULL;
    lvlm_error err = { .text = "" };
    char folder[64];
    snprintf(folder, sizeof folder, "%s/", name);
    for (size_t i = 0; i < N_NAMES; i++) {
        if ((open[n] = open_file(folder, names[i])) == NULL) continue;
        files[n] = (lvlm_side_file){ names[i], open[n]->bytes, open[n]->n_bytes };
        n++;
    }
    if (strcmp(name, "gemma-json") == 0)
        assert_int_equal(lvlm_json_parse(&config, PALIGEMMA, strlen(PALIGEMMA), NULL),
                         0);
    const lvlm_checkpoint checkpoint = {
        .path = name, .side_files = files, .n_side_files = n, .config = config
    };
    if (lvlm_tokenizer_open(&tokenizer, &checkpoint, &err) < 0)
        fail_msg("%s", err.text);
    while (n > 0) lvlm_infile_close(open[--n]);
    lvlm_json_free(config);
    return tokenizer;
}

/* ---- comparing ------------------------------------------------------------------- */

static unsigned code_of(const void *bytes, size_t n)
{
    return 3 + (unsigned)(crc32(crc32(0, NULL, 0), bytes, (uInt)n) % 65533);
}

static unsigned code_of_ids(const lvlm_ids *ids)
{
    int32_t *const narrow = lvlm_calloc(ids->n + 1, sizeof *narrow);
    for (size_t i = 0; i < ids->n; i++) narrow[i] = (int32_t)ids->at[i];
    const unsigned code = code_of(narrow, ids->n * sizeof *narrow);
    lvlm_free(narrow);
    return code;
}

/* Decode `ids` by a stream; every step must append complete characters. */
static void stream_ids(const lvlm_tokenizer *tokenizer, const lvlm_ids *ids,
                       lvlm_strbuf *out)
{
    lvlm_text_stream stream;
    lvlm_text_stream_init(&stream, tokenizer, NULL);
    for (size_t i = 0; i < ids->n; i++) {
        const size_t before = out->length;
        assert_int_equal(lvlm_text_stream_put(&stream, out, ids->at[i], NULL), 0);
        if (out->length > before)
            assert_true(lvlm_utf8_valid(out->text + before, out->length - before));
    }
    assert_int_equal(lvlm_text_stream_end(&stream, out, NULL), 0);
    lvlm_text_stream_free(&stream);
}

static void reverse(lvlm_ids *ids)
{
    for (size_t i = 0; i < ids->n / 2; i++) {
        const int64_t id = ids->at[i];
        ids->at[i] = ids->at[ids->n - 1 - i];
        ids->at[ids->n - 1 - i] = id;
    }
}

/* At once and by a stream. */
static void check_decoding(const lvlm_tokenizer *tokenizer, const lvlm_ids *ids,
                           unsigned expected, const char *name, size_t number)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(1 << 20), streamed = LVLM_STRBUF_INIT(1 << 20);
    lvlm_strbuf_append(&text, "", 0);
    assert_int_equal(
        lvlm_tokenizer_decode(tokenizer, &text, ids->at, ids->n, NULL, NULL), 0);
    if (expected != NOT_RECORDED && code_of(text.text, text.length) != expected)
        fail_msg("%s, text %zu: decodes to another text", name, number);
    stream_ids(tokenizer, ids, &streamed);
    assert_int_equal(streamed.length, text.length);
    if (text.length > 0) assert_memory_equal(streamed.text, text.text, text.length);
    lvlm_strbuf_free(&streamed);
    lvlm_strbuf_free(&text);
}

static void check_text(const lvlm_tokenizer *tokenizer, const char *name, size_t number,
                       const char *text, size_t n_bytes, const unsigned char *expected)
{
    const unsigned want_ids = (unsigned)lvlm_load_le(expected, 2);
    lvlm_ids ids = LVLM_IDS_INIT;
    lvlm_error err = { .text = "" };
    const int rc = lvlm_tokenizer_encode(tokenizer, &ids, text, n_bytes, NULL, &err);
    if ((rc < 0) != (want_ids == REFUSED) && want_ids != NOT_RECORDED)
        fail_msg("%s, text %zu: %s", name, number, rc < 0 ? err.text : "not refused");
    if (rc == 0) {
        if (want_ids != NOT_RECORDED && code_of_ids(&ids) != want_ids)
            fail_msg("%s, text %zu: other ids", name, number);
        check_decoding(tokenizer, &ids, (unsigned)lvlm_load_le(expected + 2, 2), name,
                       number);
        reverse(&ids);
        check_decoding(tokenizer, &ids, (unsigned)lvlm_load_le(expected + 4, 2), name,
                       number);
    }
    lvlm_ids_free(&ids);
}

/* `most`: how many texts may be refused or not recorded. */
static void check_format(const recorded_texts *texts, const char *name, size_t most)
{
    lvlm_tokenizer *const tokenizer = open_recorded(name);
    char path[80];
    size_t n_left_out = 0;
    snprintf(path, sizeof path, "%s/", name);
    lvlm_infile *const expected = open_file(path, "expected.bin");
    assert_non_null(expected);
    assert_int_equal(expected->n_bytes, CODES_BYTES * N_TEXTS);
    for (size_t i = 0; i < N_TEXTS; i++) {
        check_text(tokenizer, name, i, texts->at[i], texts->n_bytes[i],
                   expected->bytes + CODES_BYTES * i);
        n_left_out +=
            lvlm_load_le(expected->bytes + CODES_BYTES * i, 2) <= NOT_RECORDED;
    }
    assert_true(n_left_out <= most);
    lvlm_infile_close(expected);
    lvlm_tokenizer_close(tokenizer);
}

static void byte_level_json_of_qwen2_gives_the_reference_ids(void **state)
{
    check_format(*state, "qwen2-json", 0);
}

static void vocab_and_merges_give_the_reference_ids(void **state)
{
    check_format(*state, "vocab-merges", 0);
}

/* Many texts have an unclosed <img>. */
static void qwen_tiktoken_gives_the_reference_ids(void **state)
{
    check_format(*state, "qwen-tiktoken", 1000);
}

static void tiktoken_of_llama3_gives_the_reference_ids(void **state)
{
    check_format(*state, "llama3-tiktoken", 0);
}

static void byte_level_json_of_llama3_gives_the_reference_ids(void **state)
{
    check_format(*state, "llama3-json", 0);
}

static void byte_fallback_json_of_gemma_gives_the_reference_ids(void **state)
{
    check_format(*state, "gemma-json", 0);
}

static void byte_fallback_json_with_a_prefix_gives_the_reference_ids(void **state)
{
    check_format(*state, "llama2-json", 0);
}

static void sentencepiece_of_gemma_gives_the_reference_ids(void **state)
{
    check_format(*state, "sentencepiece-gemma", 0);
}

static void sentencepiece_with_a_prefix_gives_the_reference_ids(void **state)
{
    check_format(*state, "sentencepiece-prefix", 0);
}

/* Nothing is normalised and every byte has a token, so texts are restored exactly. */
static void texts_are_restored_exactly(void **state)
{
    static const char *const names[] = { "llama3-tiktoken", "llama3-json" };
    const recorded_texts *const texts = *state;
    for (size_t k = 0; k < 2; k++) {
        lvlm_tokenizer *const tokenizer = open_recorded(names[k]);
        for (size_t i = 0; i < N_TEXTS; i++) {
            lvlm_ids ids = LVLM_IDS_INIT;
            lvlm_strbuf back = LVLM_STRBUF_INIT(1 << 20);
            lvlm_strbuf_append(&back, "", 0);
            assert_int_equal(lvlm_tokenizer_encode(tokenizer, &ids, texts->at[i],
                                                   texts->n_bytes[i], NULL, NULL),
                             0);
            assert_int_equal(
                lvlm_tokenizer_decode(tokenizer, &back, ids.at, ids.n, NULL, NULL), 0);
            assert_int_equal(back.length, texts->n_bytes[i]);
            assert_memory_equal(back.text, texts->at[i], back.length);
            lvlm_strbuf_free(&back);
            lvlm_ids_free(&ids);
        }
        lvlm_tokenizer_close(tokenizer);
    }
}

/* One word of a million characters: merging that is not O(n log n) takes hours. */
static void a_megabyte_without_a_split_takes_seconds(void **state)
{
    enum { N = 1000000 };
    static const char *const names[] = { "qwen2-json", "llama3-tiktoken", "gemma-json",
                                         "sentencepiece-gemma" };
    char *const text = lvlm_malloc(N);
    (void)state;
    for (size_t k = 0; k < 8; k++) {
        lvlm_tokenizer *const tokenizer = open_recorded(names[k / 2]);
        lvlm_ids ids = LVLM_IDS_INIT;
        const clock_t started = clock();
        memset(text, k % 2 == 0 ? 'a' : ' ', N);
        assert_int_equal(lvlm_tokenizer_encode(tokenizer, &ids, text, N, NULL, NULL),
                         0);
        assert_true(ids.n >= N / 100);
        /* observed 0.5 s at most, gcc 12 -O1; 1.8 s with sanitizers */
        assert_true((double)(clock() - started) / CLOCKS_PER_SEC < 30);
        lvlm_ids_free(&ids);
        lvlm_tokenizer_close(tokenizer);
    }
    lvlm_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_level_json_of_qwen2_gives_the_reference_ids),
        cmocka_unit_test(vocab_and_merges_give_the_reference_ids),
        cmocka_unit_test(qwen_tiktoken_gives_the_reference_ids),
        cmocka_unit_test(tiktoken_of_llama3_gives_the_reference_ids),
        cmocka_unit_test(byte_level_json_of_llama3_gives_the_reference_ids),
        cmocka_unit_test(byte_fallback_json_of_gemma_gives_the_reference_ids),
        cmocka_unit_test(byte_fallback_json_with_a_prefix_gives_the_reference_ids),
        cmocka_unit_test(sentencepiece_of_gemma_gives_the_reference_ids),
        cmocka_unit_test(sentencepiece_with_a_prefix_gives_the_reference_ids),
        cmocka_unit_test(texts_are_restored_exactly),
        cmocka_unit_test(a_megabyte_without_a_split_takes_seconds),
    };
    return cmocka_run_group_tests(tests, read_texts, free_texts);
}
