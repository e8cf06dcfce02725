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

static lvlm_tokenizer *open_files(text_files *files)
{
    lvlm_tokenizer *tokenizer = NULL;
    lvlm_error err = { .text = "" };
    if (text_files_open(&tokenizer, files, &err) < 0) fail_msg("%s", err.text);
    return tokenizer;
}

static void expect_refusal(text_files *files, const char *message)
{
    lvlm_tokenizer *tokenizer = NULL;
    lvlm_error err = { .text = "" };
    assert_int_equal(text_files_open(&tokenizer, files, &err), LVLM_EFORMAT);
    if (strstr(err.text, message) == NULL) fail_msg("%s", err.text);
}

static void expect_ids(const lvlm_tokenizer *tokenizer, const char *text,
                       const char *ids)
{
    char got[4096];
    assert_string_equal(text_ids(tokenizer, text, NULL, got, sizeof got), ids);
}

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
        lvlm_tokenizer *const t = open_files(&files);
        expect_ids(t, "abcab1", "257 256 49");
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
        expect_refusal(&files, bad[i].message);
    }
    text_files_add(&alone, "vocab.json", vocab);
    expect_refusal(&alone, "none of tokenizer.json, vocab.json with merges.txt");
    lvlm_free(vocab);
}

/* ---- what stands beside them ----------------------------------------------------- */

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
    lvlm_tokenizer *const t = open_files(&files);
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
    expect_ids(t, "<a><b><eos><i><m>", "258 259 260 261 262");
    assert_int_equal(lvlm_tokenizer_role(t, LVLM_TOKEN_EOS), 260);
    assert_int_equal(lvlm_tokenizer_role(t, LVLM_TOKEN_PAD), 258);
    assert_int_equal(lvlm_tokenizer_role(t, LVLM_TOKEN_BOS), -1);
    assert_true(lvlm_tokenizer_is_special(t, 259)); /* the list says so */
    assert_int_equal(lvlm_tokenizer_size(t), 263);
    lvlm_tokenizer_close(t);
}

static void older_files_count_where_the_config_has_no_tokens(void **state)
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
    expect_ids(t, "<a><b>", "258 259");
    assert_true(lvlm_tokenizer_is_special(t, 258));
    assert_false(lvlm_tokenizer_is_special(t, 259));
    assert_int_equal(lvlm_tokenizer_role(t, LVLM_TOKEN_EOS), 258);
    lvlm_tokenizer_close(t);
    t = open_beside(both, 2);
    expect_ids(t, "<c>", "258");
    assert_int_equal(lvlm_tokenizer_id(t, "<b>"), -1);
    lvlm_tokenizer_close(t);
}

/* As Qwen2's class does. */
static void end_of_text_plays_the_roles_that_nothing_names(void **state)
{
    (void)state;
    lvlm_tokenizer *const t = open_beside(NULL, 0);
    expect_ids(t, "<|endoftext|>", "258");
    assert_int_equal(lvlm_tokenizer_role(t, LVLM_TOKEN_EOS), 258);
    assert_int_equal(lvlm_tokenizer_role(t, LVLM_TOKEN_PAD), 258);
    lvlm_tokenizer_close(t);
}

static void config_refuses_ids_that_do_not_follow(void **state)
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
        expect_refusal(&files, bad[i].message);
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

/* Bytes under their own numbers, " a" 256, "cat" 257, and `more`. */
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
    lvlm_tokenizer *const t = open_files(&files);
    lvlm_free(lines);
    return t;
}

static void ranks_of_llama3_bring_its_special_tokens(void **state)
{
    (void)state;
    lvlm_tokenizer *const t = open_ranks("tokenizer.model");
    expect_ids(t, "cat a cats", "257 256 32 99 97 116 115");
    expect_ids(t, "<|begin_of_text|><|eot_id|><|python_tag|>", "258 267 268");
    expect_ids(t, "<|reserved_special_token_246|><|image|>", "513 514");
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
    expect_ids(t, "<|endoftext|><|im_start|><|im_end|><|extra_204|>",
               "258 259 260 465");
    expect_ids(t, "<ref></quad><imgpad></img>", "466 471 474 473");
    assert_int_equal(lvlm_tokenizer_role(t, LVLM_TOKEN_EOS), 258);
    /* composed before the search: U+226F is not '>' */
    expect_ids(t, "<ref>\u0338", "60 114 101 102 226 137 175");
    assert_string_equal(text_ids(t, "<img>", &off, got, sizeof got),
                        "60 105 109 103 62");
    lvlm_tokenizer_close(t);
}

static void paths_between_img_tags_become_one_id_a_byte(void **state)
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
        expect_refusal(&files, bad[i].message);
        lvlm_free(lines);
    }
    text_files_add(&empty, "qwen.tiktoken", "");
    expect_refusal(&empty, "model: qwen.tiktoken: no token");
}

/* ---- SentencePiece --------------------------------------------------------------- */

static void put_piece(lvlm_strbuf *out, const char *text, float score, int type)
{
    const char head[] = { 10, (char)(strlen(text) + 2 + 5 + 2), 10,
                          (char)strlen(text) };
    const char tail[] = { 24, (char)type };
    lvlm_strbuf_append(out, head, sizeof head);
    lvlm_strbuf_puts(out, text);
    lvlm_strbuf_append(out, "\x15", 1);
    lvlm_strbuf_append(out, &score, sizeof score);
    lvlm_strbuf_append(out, tail, sizeof tail);
}

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED };

/* <unk>, <s>, a, b, ab, abb, and what the user defined: "bb". */
static void put_pieces(lvlm_strbuf *out)
{
    put_piece(out, "<unk>", 0, UNKNOWN);
    put_piece(out, "<s>", 0, CONTROL);
    put_piece(out, "ab", -1, NORMAL);
    put_piece(out, "ba", -1, NORMAL);
    put_piece(out, "a", -3, NORMAL);
    put_piece(out, "b", -4, NORMAL);
    put_piece(out, "xx", 0, USER_DEFINED);
    put_piece(out, "\u2581", -5, NORMAL);
}

#define BPE "\x12\x02\x18\x02"
#define AS_IT_IS "\x1a\x04\x18\x00\x20\x00" /* no dummy prefix, spaces kept */

static lvlm_tokenizer *open_pieces(const lvlm_strbuf *model)
{
    text_files files = { .paligemma = false };
    text_files_add_bytes(&files, "tokenizer.model", model->text, model->length);
    return open_files(&files);
}

static void pieces_merge_by_score_and_then_from_the_left(void **state)
{
    lvlm_strbuf model = LVLM_STRBUF_INIT(1 << 16);
    (void)state;
    put_pieces(&model);
    lvlm_strbuf_append(&model, BPE AS_IT_IS, 10);
    lvlm_tokenizer *const t = open_pieces(&model);
    expect_ids(t, "aba", "2 4");
    expect_ids(t, "bab", "3 5");
    expect_ids(t, "a  b", "4 7 7 5");
    expect_ids(t, "axxx", "4 6 0");           /* cut out first, from the left */
    expect_ids(t, "a\u00e9\u00e8b", "4 0 5"); /* one for a run */
    expect_ids(t, "<s>ab<unk>", "1 2 0");
    assert_false(lvlm_tokenizer_is_special(t, 6));
    lvlm_tokenizer_close(t);
    lvlm_strbuf_free(&model);
}

static void pieces_have_a_prefix_unless_the_model_says_no(void **state)
{
    lvlm_strbuf model = LVLM_STRBUF_INIT(1 << 16), text = LVLM_STRBUF_INIT(100);
    const int64_t ids[] = { 7, 4, 7, 5 };
    (void)state;
    put_pieces(&model);
    lvlm_strbuf_append(&model, BPE, 4);
    lvlm_tokenizer *const t = open_pieces(&model);
    expect_ids(t, "  a  b ", "7 4 7 5");
    expect_ids(t, "   ", "");
    assert_int_equal(lvlm_tokenizer_decode(t, &text, ids, 4, NULL, NULL), 0);
    assert_string_equal(text.text, "a b");
    lvlm_tokenizer_close(t);
    lvlm_strbuf_free(&text);
    lvlm_strbuf_free(&model);
}

static void sentencepiece_refuses_what_would_change_ids(void **state)
{
    static const struct {
        const char *more;
        size_t n;
        const char *message;
    } bad[] = {
        { "", 0, "of kind 1, only 2 (BPE)" },
        { BPE "\x1a\x03\x12\x01x", 9, "table of characters" },
        { "\x12\x05\x18\x02\xc0\x01\x01", 7, "spaces as suffix" },
        { "\x12\x05\x18\x02\x98\x02\x01", 7, "there is no piece <0x00>" },
        { BPE "\x0a\x05\x0a\x01q\x18\x05", 11, "piece 8 is of type 5" },
        { BPE "\x0a\x03\x0a\x01\xff", 9, "piece 8 is not UTF-8" },
        { BPE "\x0a\x03\x0a\x01"
              "a",
          9, "token 'a' is duplicate" },
        { BPE "\x0a\x00", 6, "token 8 is empty" },
        { BPE "\x0a\x05\x0a\x01q\x18\x02", 11, "a second one for what is unknown" },
        { BPE "\x0a\x7f", 6, "broken protobuf" },
        { BPE "\x0f", 5, "broken protobuf" },
        { BPE "\x0a\x02\x0a\x05", 8, "broken protobuf" },
        { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, "broken protobuf" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lvlm_strbuf model = LVLM_STRBUF_INIT(1 << 16);
        text_files files = { .paligemma = false };
        put_pieces(&model);
        lvlm_strbuf_append(&model, bad[i].more, bad[i].n);
        text_files_add_bytes(&files, "tokenizer.model", model.text, model.length);
        expect_refusal(&files, bad[i].message);
        lvlm_strbuf_free(&model);
    }
}

/* ---- PaliGemma ------------------------------------------------------------------- */

static void places_are_one_token_whatever_the_file_says(void **state)
{
    /* <seg000> is in the vocabulary, the others are not */
    static const char json[] =
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"<\":0,\"s\":1,\"<seg000>\":2},"
        "\"merges\":[]}}";
    text_files files = { .paligemma = false };
    (void)state;
    text_files_add(&files, "tokenizer.json", json);
    lvlm_tokenizer *t = open_files(&files);
    expect_ids(t, "<seg000>", "0 1");
    lvlm_tokenizer_close(t);
    files.paligemma = true;
    t = open_files(&files);
    expect_ids(t, "<seg000><image><loc0000><loc1023><seg001><seg127>",
               "2 3 4 1027 1028 1154");
    assert_true(lvlm_tokenizer_is_special(t, 3));
    assert_false(lvlm_tokenizer_is_special(t, 4));
    assert_int_equal(lvlm_tokenizer_size(t), 1155);
    lvlm_tokenizer_close(t);
}

static void tokenizer_json_goes_first(void **state)
{
    char *const lines = rank_lines("");
    text_files files = { .paligemma = false };
    (void)state;
    text_files_add(&files, "qwen.tiktoken", lines);
    text_files_add(&files, "tokenizer.model", lines);
    text_files_add(&files, "tokenizer.json",
                   "{\"model\":{\"vocab\":{\"c\":0,\"a\":1},\"merges\":[]}}");
    lvlm_tokenizer *t = open_files(&files);
    expect_ids(t, "cat", "0 1");
    lvlm_tokenizer_close(t);
    files.at[2].name = NULL;
    t = open_files(&files);
    expect_ids(t, "<|im_end|>", "260"); /* of Qwen */
    lvlm_tokenizer_close(t);
    lvlm_free(lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_are_read_with_and_without_a_version_line),
        cmocka_unit_test(vocab_refuses_broken_merges),
        cmocka_unit_test(config_adds_tokens_by_id_then_by_role_then_from_lists),
        cmocka_unit_test(older_files_count_where_the_config_has_no_tokens),
        cmocka_unit_test(end_of_text_plays_the_roles_that_nothing_names),
        cmocka_unit_test(config_refuses_ids_that_do_not_follow),
        cmocka_unit_test(ranks_of_llama3_bring_its_special_tokens),
        cmocka_unit_test(ranks_of_qwen_bring_its_special_tokens),
        cmocka_unit_test(paths_between_img_tags_become_one_id_a_byte),
        cmocka_unit_test(a_path_has_256_bytes_at_most),
        cmocka_unit_test(ranks_refuse_broken_lines),
        cmocka_unit_test(pieces_merge_by_score_and_then_from_the_left),
        cmocka_unit_test(pieces_have_a_prefix_unless_the_model_says_no),
        cmocka_unit_test(sentencepiece_refuses_what_would_change_ids),
        cmocka_unit_test(places_are_one_token_whatever_the_file_says),
        cmocka_unit_test(tokenizer_json_goes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
