/* test_tokenizer_files.c - the other files of a tokenizer: precedence, tokens and
 * refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "formats/base/alloc.h"
#include "tests/runtime/prepare/text_files.h"

/* ---- vocab.json and merges.txt --------------------------------------------------- */

/* Bytes, "ab" 256, "abc" 257. Free with lvlm_free. */
static char *vocab_json(void)
{
    lvlm_strbuf json = LVLM_STRBUF_INIT(1 << 20);
    lvlm_strbuf_puts(&json, "{");
    text_files_vocab(&json);
    lvlm_strbuf_puts(&json, ",\"ab\":256,\"abc\":257}");
    return json.text;
}

static void merges_are_read_with_and_without_a_version_line(void **state)
{
    static const char *const merges[] = { "#version: 0.2\na b\nab c\n", "a b\nab c",
                                          "#version: 0.2\r\na b\r\nab c\r\n" };
    char *const vocab = vocab_json();
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        text_files files = { .paligemma = false };
        text_files_add(&files, "vocab.json", vocab);
        text_files_add(&files, "merges.txt", merges[i]);
        lvlm_tokenizer *const t = text_files_opened(&files);
        text_files_give(t, "abcab1", "257 256 49");
        lvlm_tokenizer_close(t);
    }
    lvlm_free(vocab);
}

static void vocab_refuses_broken_merges(void **state)
{
    static const struct {
        const char *merges, *message;
    } bad[] = {
        { "a b\nab\n", "model: merges.txt: merge 1 is not two words" },
        { "a b c\n", "merge 0 is not two words" },
        { "# #\n", "is not a token" }, /* a merge, not a comment */
        { "b c\n", "merge 0 of 'b' and 'c'" },
    };
    char *const vocab = vocab_json();
    text_files alone = { .paligemma = false };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        text_files files = { .paligemma = false };
        text_files_add(&files, "vocab.json", vocab);
        text_files_add(&files, "merges.txt", bad[i].merges);
        text_files_refused(&files, bad[i].message);
    }
    text_files_add(&alone, "vocab.json", vocab);
    text_files_refused(&alone, "none of tokenizer.json, vocab.json with merges.txt");
    lvlm_free(vocab);
}

/* ---- files beside them ----------------------------------------------------------- */

#define DECODER(id, text, special)                                                     \
    "\"" id "\":{\"content\":\"" text                                                  \
    "\",\"lstrip\":false,\"normalized\":false,\"rstrip\":false,\"single_word\":false," \
    "\"special\":" special "}"

/* A tokenizer of vocab_json with the files of these names and texts. */
static lvlm_tokenizer *open_beside(const char *const (*beside)[2], size_t n)
{
    char *const vocab = vocab_json();
    text_files files = { .paligemma = false };
    text_files_add(&files, "vocab.json", vocab);
    text_files_add(&files, "merges.txt", "a b\n");
    for (size_t i = 0; i < n; i++) text_files_add(&files, beside[i][0], beside[i][1]);
    lvlm_tokenizer *const t = text_files_opened(&files);
    lvlm_free(vocab);
    return t;
}

static void config_adds_tokens_by_id_then_by_role_then_from_lists(void **state)
{
    static const char *const config[][2] = {
        { "tokenizer_config.json",
          "{\"added_tokens_decoder\":{" DECODER("259", "<b>", "false") "," DECODER(
              "258", "<a>", "true") "},\"eos_token\":\"<eos>\",\"pad_token\":{"
                                    "\"content\":\"<a>\"},\"unk_token\":null,"
                                    "\"image_token\":\"<i>\","
                                    "\"additional_special_tokens\":[\"<m>\",\"<b>\"]}" }
    };
    (void)state;
    lvlm_tokenizer *const t = open_beside(config, 1);
    text_files_give(t, "<a><b><eos><i><m>", "258 259 260 261 262");
    assert_int_equal(lvlm_tokenizer_role(t, LVLM_TOKEN_EOS), 260);
    assert_int_equal(lvlm_tokenizer_role(t, LVLM_TOKEN_PAD), 258);
    assert_int_equal(lvlm_tokenizer_role(t, LVLM_TOKEN_BOS), -1);
    assert_true(lvlm_tokenizer_is_special(t, 259)); /* the list says so */
    assert_int_equal(lvlm_tokenizer_size(t), 263);
    lvlm_tokenizer_close(t);
}

static void older_files_are_used_where_the_config_has_no_tokens(void **state)
{
    static const char *const older[][2] = {
        { "added_tokens.json", "{\"<b>\":259,\"<a>\":258}" },
        { "special_tokens_map.json",
          "{\"eos_token\":\"<a>\",\"pad_token\":\"<a>\",\"unk_token\":\"<a>\"}" }
    };
    static const char *const both[][2] = {
        { "tokenizer_config.json",
          "{\"added_tokens_decoder\":{" DECODER("258", "<c>", "true") "}}" },
        { "added_tokens.json", "{\"<b>\":259,\"<a>\":258}" }
    };
    (void)state;
    lvlm_tokenizer *t = open_beside(older, 2);
    text_files_give(t, "<a><b>", "258 259");
    assert_true(lvlm_tokenizer_is_special(t, 258));
    assert_false(lvlm_tokenizer_is_special(t, 259));
    assert_int_equal(lvlm_tokenizer_role(t, LVLM_TOKEN_EOS), 258);
    lvlm_tokenizer_close(t);
    t = open_beside(both, 2);
    text_files_give(t, "<c>", "258");
    assert_int_equal(lvlm_tokenizer_id(t, "<b>"), -1);
    lvlm_tokenizer_close(t);
}

/* As Qwen2's class does. */
static void end_of_text_fills_the_roles_that_no_file_names(void **state)
{
    (void)state;
    lvlm_tokenizer *const t = open_beside(NULL, 0);
    text_files_give(t, "<|endoftext|>", "258");
    assert_int_equal(lvlm_tokenizer_role(t, LVLM_TOKEN_EOS), 258);
    assert_int_equal(lvlm_tokenizer_role(t, LVLM_TOKEN_PAD), 258);
    lvlm_tokenizer_close(t);
}

static void config_refuses_ids_with_gaps_or_conflicts(void **state)
{
    static const struct {
        const char *name, *text, *message;
    } bad[] = {
        { "tokenizer_config.json",
          "{\"added_tokens_decoder\":{" DECODER("300", "<a>", "true") "}}",
          "'<a>' has id 300 in the file, but the next free one is 258" },
        { "tokenizer_config.json",
          "{\"added_tokens_decoder\":{" DECODER("258", "ab", "true") "}}",
          "'ab' has id 258 in the file, but its text has 256" },
        { "tokenizer_config.json", "{\"added_tokens_decoder\":{\"x\":{}}}",
          "'x' is not an id" },
        { "tokenizer_config.json", "{\"added_tokens_decoder\":{\"258\":{}}}",
          "without content" },
        { "tokenizer_config.json", "{", "model: tokenizer_config.json: not JSON" },
        { "added_tokens.json", "{\"<a>\":-1}", "added_tokens.json: '<a>' has no id" },
    };
    char *const vocab = vocab_json();
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        text_files files = { .paligemma = false };
        text_files_add(&files, "vocab.json", vocab);
        text_files_add(&files, "merges.txt", "a b\n");
        text_files_add(&files, bad[i].name, bad[i].text);
        text_files_refused(&files, bad[i].message);
    }
    lvlm_free(vocab);
}

/* ---- ranks ----------------------------------------------------------------------- */

static void put_base64(lvlm_strbuf *out, const char *bytes, size_t n)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        unsigned three = 0;
        char four[4];
        for (size_t k = 0; k < 3; k++)
            three = three << 8 | (i + k < n ? (unsigned char)bytes[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            four[k] = i + k > n ? '=' : digits[three >> (18 - 6 * k) & 63];
        lvlm_strbuf_append(out, four, 4);
    }
}

/* Bytes have their values as ranks, " a" 256, "cat" 257; then `more`. */
static char *rank_lines(const char *more)
{
    lvlm_strbuf lines = LVLM_STRBUF_INIT(1 << 20);
    for (unsigned byte = 0; byte < 256; byte++) {
        const char one = (char)byte;
        put_base64(&lines, &one, 1);
        lvlm_strbuf_printf(&lines, " %u\n", byte);
    }
    put_base64(&lines, " a", 2);
    lvlm_strbuf_puts(&lines, " 256\n");
    put_base64(&lines, "cat", 3);
    lvlm_strbuf_printf(&lines, " 257\n%s", more);
    return lines.text;
}

static lvlm_tokenizer *open_ranks(const char *name)
{
    char *const lines = rank_lines("");
    text_files files = { .paligemma = false };
    text_files_add(&files, name, lines);
    lvlm_tokenizer *const t = text_files_opened(&files);
    lvlm_free(lines);
    return t;
}

static void ranks_of_llama3_bring_its_special_tokens(void **state)
{
    (void)state;
    lvlm_tokenizer *const t = open_ranks("tokenizer.model");
    text_files_give(t, "cat a cats", "257 256 32 99 97 116 115");
    text_files_give(t, "<|begin_of_text|><|eot_id|><|python_tag|>", "258 267 268");
    text_files_give(t, "<|reserved_special_token_246|><|image|>", "513 514");
    assert_int_equal(lvlm_tokenizer_size(t), 515);
    assert_int_equal(lvlm_tokenizer_role(t, LVLM_TOKEN_BOS), 258);
    lvlm_tokenizer_close(t);
}

static void ranks_of_qwen_bring_its_special_tokens(void **state)
{
    const lvlm_special off = { .off = true };
    char got[256];
    (void)state;
    lvlm_tokenizer *const t = open_ranks("qwen.tiktoken");
    text_files_give(t, "<|endoftext|><|im_start|><|im_end|><|extra_204|>",
                    "258 259 260 465");
    text_files_give(t, "<ref></quad><imgpad></img>", "466 471 474 473");
    assert_int_equal(lvlm_tokenizer_role(t, LVLM_TOKEN_EOS), 258);
    /* NFC comes before the search: U+226F is not '>' */
    text_files_give(t, "<ref>\u0338", "60 114 101 102 226 137 175");
    assert_string_equal(text_ids(t, "<img>", &off, got, sizeof got),
                        "60 105 109 103 62");
    lvlm_tokenizer_close(t);
}

static void paths_between_img_tags_become_one_id_per_byte(void **state)
{
    lvlm_ids ids = LVLM_IDS_INIT;
    lvlm_strbuf text = LVLM_STRBUF_INIT(1000);
    char got[256];
    (void)state;
    lvlm_tokenizer *const t = open_ranks("qwen.tiktoken");
    assert_int_equal(
        lvlm_tokenizer_encode(t, &ids, "x<img>cat\u00e9</img>cat", 20, NULL, NULL), 0);
    assert_int_equal(ids.n, 1 + 1 + 256 + 1 + 1);
    const int64_t begin[] = { 'x', 472, 'c', 'a', 't', 0xc3, 0xa9, 474, 474 };
    assert_memory_equal(ids.at, begin, sizeof begin);
    assert_int_equal(ids.at[257], 474);
    assert_int_equal(ids.at[258], 473);
    assert_int_equal(ids.at[259], 257);
    assert_int_equal(lvlm_tokenizer_decode(t, &text, ids.at, ids.n, NULL, NULL), 0);
    assert_string_equal(text.text, "x<img>cat\u00e9</img>cat");
    assert_string_equal(text_ids(t, "<img>a", NULL, got, sizeof got),
                        "error: <img> without </img>");
    assert_string_equal(text_ids(t, "<img>a<ref></img>", NULL, got, sizeof got),
                        "error: <ref> between <img> and </img>");
    lvlm_strbuf_free(&text);
    lvlm_ids_free(&ids);
    lvlm_tokenizer_close(t);
}

static void a_path_has_256_bytes_at_most(void **state)
{
    char text[300] = "<img>", got[2000];
    (void)state;
    lvlm_tokenizer *const t = open_ranks("qwen.tiktoken");
    memset(text + 5, 'a', 256);
    memcpy(text + 5 + 256, "</img>", 7);
    assert_null(strstr(text_ids(t, text, NULL, got, sizeof got), "error"));
    memset(text + 5, 'a', 257);
    memcpy(text + 5 + 257, "</img>", 7);
    assert_string_equal(text_ids(t, text, NULL, got, sizeof got),
                        "error: 257 bytes between <img> and </img>, at most 256");
    lvlm_tokenizer_close(t);
}

static void ranks_refuse_broken_lines(void **state)
{
    static const struct {
        const char *more, *message;
    } bad[] = {
        { "YWI= 259\n", "there are gaps" },
        { "YWI 258\n", "line 259: not base64" },
        { "Y*I= 258\n", "line 259: not base64" },
        { "YWI=\n", "line 259: no rank" },
        { "YWI= x\n", "line 259: 'x' is not a rank" },
        { "YWI= 1000000000\n", "line 259: '1000000000' is not a rank" },
        { "YWI= 258 1\n", "line 259: more than a token and its rank" },
        { "YQ== 258\n", "line 259: token 'a' is duplicate" },
        { "YWI= \001\n", "line 259: no rank" },
    };
    text_files empty = { .paligemma = false };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *const lines = rank_lines(bad[i].more);
        text_files files = { .paligemma = false };
        text_files_add(&files, "qwen.tiktoken", lines);
        text_files_refused(&files, bad[i].message);
        lvlm_free(lines);
    }
    text_files_add(&empty, "qwen.tiktoken", "");
    text_files_refused(&empty, "model: qwen.tiktoken: no token");
}

/* ---- PaliGemma ------------------------------------------------------------------- */

static void locations_are_one_token_whatever_the_file_says(void **state)
{
    /* <seg000> is in the vocabulary, the others are not */
    static const char json[] =
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"<\":0,\"s\":1,\"<seg000>\":2},"
        "\"merges\":[]}}";
    text_files files = { .paligemma = false };
    (void)state;
    text_files_add(&files, "tokenizer.json", json);
    lvlm_tokenizer *t = text_files_opened(&files);
    text_files_give(t, "<seg000>", "0 1");
    lvlm_tokenizer_close(t);
    files.paligemma = true;
    t = text_files_opened(&files);
    text_files_give(t, "<seg000><image><loc0000><loc1023><seg001><seg127>",
                    "2 3 4 1027 1028 1154");
    assert_true(lvlm_tokenizer_is_special(t, 3));
    assert_false(lvlm_tokenizer_is_special(t, 4));
    assert_int_equal(lvlm_tokenizer_size(t), 1155);
    lvlm_tokenizer_close(t);
}

static void tokenizer_json_takes_precedence(void **state)
{
    char *const lines = rank_lines("");
    text_files files = { .paligemma = false };
    (void)state;
    text_files_add(&files, "qwen.tiktoken", lines);
    text_files_add(&files, "tokenizer.model", lines);
    text_files_add(&files, "tokenizer.json",
                   "{\"model\":{\"vocab\":{\"c\":0,\"a\":1},\"merges\":[]}}");
    lvlm_tokenizer *t = text_files_opened(&files);
    text_files_give(t, "cat", "0 1");
    lvlm_tokenizer_close(t);
    files.at[2].name = NULL;
    t = text_files_opened(&files);
    text_files_give(t, "<|im_end|>", "260"); /* of Qwen */
    lvlm_tokenizer_close(t);
    lvlm_free(lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_are_read_with_and_without_a_version_line),
        cmocka_unit_test(vocab_refuses_broken_merges),
        cmocka_unit_test(config_adds_tokens_by_id_then_by_role_then_from_lists),
        cmocka_unit_test(older_files_are_used_where_the_config_has_no_tokens),
        cmocka_unit_test(end_of_text_fills_the_roles_that_no_file_names),
        cmocka_unit_test(config_refuses_ids_with_gaps_or_conflicts),
        cmocka_unit_test(ranks_of_llama3_bring_its_special_tokens),
        cmocka_unit_test(ranks_of_qwen_bring_its_special_tokens),
        cmocka_unit_test(paths_between_img_tags_become_one_id_per_byte),
        cmocka_unit_test(a_path_has_256_bytes_at_most),
        cmocka_unit_test(ranks_refuse_broken_lines),
        cmocka_unit_test(locations_are_one_token_whatever_the_file_says),
        cmocka_unit_test(tokenizer_json_takes_precedence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
