/* test_tokenizer_json.c - tokenizer.json: what is read and refused, and the flags of
 * added tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "formats/base/alloc.h"
#include "tests/runtime/prepare/text_files.h"

#define QWEN2                                                                          \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":"       \
    "{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?"         \
    "\\\\p{L}+|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+"  \
    "|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"Isolated\",\"invert\":false},"          \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}"

/* A tokenizer of bytes and "ab" 256, "bc" 257, "abc" 258, " a" 259. */
static char *json_with(const char *added, const char *merges, const char *flags)
{
    lvlm_strbuf json = LVLM_STRBUF_INIT(1 << 20);
    lvlm_strbuf_printf(&json,
                       "{\"added_tokens\":[%s],\"normalizer\":{\"type\":\"NFC\"},"
                       "\"pre_tokenizer\":" QWEN2
                       ",\"decoder\":{\"type\":\"ByteLevel\"},"
                       "\"model\":{\"type\":\"BPE\",%s\"vocab\":{",
                       added, flags);
    text_files_vocab(&json);
    lvlm_strbuf_printf(&json,
                       ",\"ab\":256,\"bc\":257,\"abc\":258,\"Ġa\":259},"
                       "\"merges\":[%s]}}",
                       merges);
    assert_int_equal(lvlm_strbuf_check(&json, NULL), 0);
    return json.text;
}

static lvlm_tokenizer *open_json(const char *added, const char *merges,
                                 const char *flags)
{
    lvlm_tokenizer *tokenizer = NULL;
    text_files files = { 0 };
    lvlm_error err = { .text = "" };
    char *const json = json_with(added, merges, flags);
    text_files_add(&files, "tokenizer.json", json);
    if (text_files_open(&tokenizer, &files, &err) < 0) fail_msg("%s", err.text);
    lvlm_free(json);
    return tokenizer;
}

static void expect_ids(const lvlm_tokenizer *tokenizer, const char *text,
                       const char *ids)
{
    char got[4096];
    assert_string_equal(text_ids(tokenizer, text, NULL, got, sizeof got), ids);
}

/* ---- merging --------------------------------------------------------------------- */

static void json_accepts_both_spellings_of_merges(void **state)
{
    static const char *const spellings[] = {
        "\"b c\",\"a b\",\"a bc\",\"Ġ a\"",
        "[\"b\",\"c\"],[\"a\",\"b\"],[\"a\",\"bc\"],[\"Ġ\",\"a\"]",
    };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        lvlm_tokenizer *const t = open_json("", spellings[i], "");
        expect_ids(t, "abc", "258");
        expect_ids(t, "abab", "256 256");
        expect_ids(t, "x abc", "120 32 258"); /* "b c" comes first */
        expect_ids(t, " ab", "32 256");
        expect_ids(t, " aa", "259 97");
        expect_ids(t, "", "");
        assert_int_equal(lvlm_tokenizer_size(t), 260);
        lvlm_tokenizer_close(t);
    }
}

static void json_keeps_known_words_whole_where_merges_are_ignored(void **state)
{
    (void)state;
    lvlm_tokenizer *t = open_json("", "\"a b\"", "\"ignore_merges\":false,");
    expect_ids(t, "abc", "256 99");
    lvlm_tokenizer_close(t);
    t = open_json("", "\"a b\"", "\"ignore_merges\":true,");
    expect_ids(t, "abc", "258");
    expect_ids(t, "abcx", "256 99 120");
    expect_ids(t, " a", "259");
    lvlm_tokenizer_close(t);
}

static void json_composes_before_it_splits(void **state)
{
    (void)state;
    lvlm_tokenizer *const t = open_json("", "\"a b\"", "");
    expect_ids(t, "e\xcc\x81", "195 169");    /* U+00E9 */
    expect_ids(t, "\xe2\x84\xab", "195 133"); /* the sign of Angstrom is U+00C5 */
    lvlm_tokenizer_close(t);
}

/* ---- added tokens ---------------------------------------------------------------- */

#define TOKEN(id, text, more) "{\"id\":" id ",\"content\":\"" text "\"" more "}"
#define RAW ",\"normalized\":false"

static void json_prefers_the_leftmost_and_longest_added_token(void **state)
{
    (void)state;
    lvlm_tokenizer *const t =
        open_json(TOKEN("260", "<a>", RAW ",\"special\":true") "," TOKEN(
                      "261", "<a><b>", RAW) "," TOKEN("262", "<b>x", RAW),
                  "\"a b\"", "");
    expect_ids(t, "<a><b>x", "261 120");
    expect_ids(t, "<a><b", "260 60 98");
    expect_ids(t, "<<b>x>", "60 262 62");
    expect_ids(t, "ab<a>ab", "256 260 256");
    lvlm_tokenizer_close(t);
}

static void json_leaves_special_tokens_as_text_on_request(void **state)
{
    static const int64_t kept[] = { 261 };
    const lvlm_special off = { .off = true };
    const lvlm_special but = { .off = true, .except = kept, .n_except = 1 };
    char got[256];
    (void)state;
    lvlm_tokenizer *const t = open_json(
        TOKEN("260", "<a>", RAW ",\"special\":true") "," TOKEN(
            "261", "<b>", RAW ",\"special\":true") "," TOKEN("262", "<c>", RAW),
        "\"a b\"", "");
    assert_string_equal(text_ids(t, "<a><b><c>", &off, got, sizeof got),
                        "60 97 62 60 98 62 262");
    assert_string_equal(text_ids(t, "<a><b><c>", &but, got, sizeof got),
                        "60 97 62 261 262");
    assert_true(lvlm_tokenizer_is_special(t, 260));
    assert_false(lvlm_tokenizer_is_special(t, 262));
    assert_int_equal(lvlm_tokenizer_id(t, "<c>"), 262);
    assert_int_equal(lvlm_tokenizer_id(t, "<d>"), -1);
    lvlm_tokenizer_close(t);
}

static void json_strips_and_keeps_words_whole_as_the_flags_say(void **state)
{
    (void)state;
    lvlm_tokenizer *const t =
        open_json(TOKEN("260", "<l>", RAW ",\"lstrip\":true") "," TOKEN(
                      "261", "<r>",
                      RAW ",\"rstrip\":true") "," TOKEN("262", "cat",
                                                        RAW ",\"single_word\":true"),
                  "\"a b\"", "");
    expect_ids(t, "x  <l> y", "120 260 32 121");
    expect_ids(t, "x <r>\n\xe3\x80\x80y", "120 32 261 121");
    expect_ids(t, "<r> <l>", "261 260");
    expect_ids(t, "cat", "262");
    expect_ids(t, "(cat)", "40 262 41");
    expect_ids(t, "cats", "99 97 116 115");
    expect_ids(t,
               "\xc3\xa9"
               "cat",
               "195 169 99 97 116");
    lvlm_tokenizer_close(t);
}

static void json_matches_normalized_tokens_in_the_normal_form(void **state)
{
    (void)state;
    lvlm_tokenizer *const t =
        open_json(TOKEN("260", "caf\xc3\xa9", ",\"normalized\":true") "," TOKEN(
                      "261", "th\xc3\xa9", RAW),
                  "\"a b\"", "");
    expect_ids(t, "cafe\xcc\x81", "260");
    expect_ids(t, "the\xcc\x81", "116 104 195 169");
    lvlm_tokenizer_close(t);
}

/* ---- what is refused ------------------------------------------------------------- */

static void expect_refusal(const char *json, const char *message)
{
    lvlm_tokenizer *tokenizer = NULL;
    text_files files = { 0 };
    lvlm_error err = { .text = "" };
    text_files_add(&files, "tokenizer.json", json);
    assert_int_equal(text_files_open(&tokenizer, &files, &err), LVLM_EFORMAT);
    if (strstr(err.text, message) == NULL) fail_msg("%s", err.text);
    assert_ptr_equal(strstr(err.text, "model: tokenizer.json: "), err.text);
}

static void json_refuses_what_would_change_ids(void **state)
{
    static const struct {
        const char *json, *message;
    } bad[] = {
        { "{", "not JSON" },
        { "{}", "there is no vocab" },
        { "{\"model\":{\"type\":\"Unigram\"}}", "model Unigram is not supported" },
        { "{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", "'a' is not a number" },
        { "{\"model\":{\"vocab\":{\"a\":4194304},\"merges\":[]}}", "at most 4194303" },
        { "{\"model\":{\"vocab\":{\"a\":0}}}", "no merges" },
        { "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}",
          "merge 0 is not two words" },
        { "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\",\"a\",\"a\"]]}}",
          "merge 0 is not two strings" },
        { "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}", "is not a token" },
        { "{\"model\":{\"dropout\":0.1}}", "dropout" },
        { "{\"model\":{\"end_of_word_suffix\":\"</w>\"}}", "suffix" },
        { "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"?\"}}",
          "unk_token '?'" },
        { "{\"normalizer\":{\"type\":\"Lowercase\"}}", "normalizer Lowercase" },
        { "{\"pre_tokenizer\":{\"type\":\"Digits\"}}", "pre_tokenizer Digits" },
        { "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},"
          "\"behavior\":\"Isolated\"}}",
          "pattern '('" },
        { "{\"decoder\":{\"type\":\"WordPiece\"}}", "decoder WordPiece" },
        { "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":["
          "{\"id\":7,\"content\":\"x\"}]}",
          "has id 7 in the file, but the next free one is 1" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_refusal(bad[i].json, bad[i].message);
}

static void a_model_without_tokenizer_says_what_is_missing(void **state)
{
    lvlm_tokenizer *tokenizer = NULL;
    text_files files = { 0 };
    lvlm_error err;
    (void)state;
    assert_int_equal(text_files_open(&tokenizer, &files, &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "model: no tokenizer: none of tokenizer.json, "));
    assert_non_null(strstr(err.text, "convert the model again with them"));
}

static void texts_that_are_not_utf8_are_refused_with_the_place(void **state)
{
    char got[256];
    (void)state;
    lvlm_tokenizer *const t = open_json("", "\"a b\"", "");
    assert_string_equal(text_ids(t, "ab\xc3(", NULL, got, sizeof got),
                        "error: the text is not UTF-8 at byte 2");
    lvlm_tokenizer_close(t);
}

/* ---- decoding -------------------------------------------------------------------- */

static void streams_return_whole_characters(void **state)
{
    static const int64_t cat[] = { 0xf0, 0x9f, 0x90, 0xb1, 'a', 0xc3, 'b', 0xe2, 0x82 };
    static const char *const steps[] = { "",
                                         "",
                                         "",
                                         "\xf0\x9f\x90\xb1",
                                         "a",
                                         "",
                                         ("\xef\xbf\xbd"
                                          "b"),
                                         "",
                                         "" };
    lvlm_text_stream stream;
    lvlm_strbuf text = LVLM_STRBUF_INIT(100), whole = LVLM_STRBUF_INIT(100);
    (void)state;
    lvlm_tokenizer *const t = open_json("", "\"a b\"", "");
    lvlm_text_stream_init(&stream, t, NULL);
    for (size_t i = 0; i < 9; i++) {
        const size_t before = text.length;
        assert_int_equal(lvlm_text_stream_put(&stream, &text, cat[i], NULL), 0);
        assert_int_equal(text.length - before, strlen(steps[i]));
        if (text.length > 0) assert_string_equal(text.text + before, steps[i]);
    }
    assert_int_equal(lvlm_text_stream_end(&stream, &text, NULL), 0);
    assert_int_equal(lvlm_tokenizer_decode(t, &whole, cat, 9, NULL, NULL), 0);
    assert_string_equal(text.text, "\xf0\x9f\x90\xb1"
                                   "a\xef\xbf\xbd"
                                   "b\xef\xbf\xbd");
    assert_string_equal(whole.text, text.text);
    lvlm_text_stream_free(&stream);
    lvlm_strbuf_free(&text);
    lvlm_strbuf_free(&whole);
    lvlm_tokenizer_close(t);
}

static void decoding_omits_special_tokens_on_request(void **state)
{
    static const int64_t ids[] = { 256, 260, 99, 261 };
    const lvlm_special off = { .off = true };
    lvlm_strbuf text = LVLM_STRBUF_INIT(100);
    lvlm_error err;
    (void)state;
    lvlm_tokenizer *const t = open_json(
        TOKEN("260", "<a>", RAW ",\"special\":true") "," TOKEN("261", "<b>", RAW),
        "\"a b\"", "");
    assert_int_equal(lvlm_tokenizer_decode(t, &text, ids, 4, NULL, &err), 0);
    assert_string_equal(text.text, "ab<a>c<b>");
    text.length = 0;
    assert_int_equal(lvlm_tokenizer_decode(t, &text, ids, 4, &off, &err), 0);
    assert_string_equal(text.text, "abc<b>");
    const int64_t beyond = 262;
    assert_int_equal(lvlm_tokenizer_decode(t, &text, &beyond, 1, NULL, &err),
                     LVLM_EFORMAT);
    assert_string_equal(err.text, "id 262 is not a token's; the tokenizer has 262");
    lvlm_strbuf_free(&text);
    lvlm_tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_accepts_both_spellings_of_merges),
        cmocka_unit_test(json_keeps_known_words_whole_where_merges_are_ignored),
        cmocka_unit_test(json_composes_before_it_splits),
        cmocka_unit_test(json_prefers_the_leftmost_and_longest_added_token),
        cmocka_unit_test(json_leaves_special_tokens_as_text_on_request),
        cmocka_unit_test(json_strips_and_keeps_words_whole_as_the_flags_say),
        cmocka_unit_test(json_matches_normalized_tokens_in_the_normal_form),
        cmocka_unit_test(json_refuses_what_would_change_ids),
        cmocka_unit_test(a_model_without_tokenizer_says_what_is_missing),
        cmocka_unit_test(texts_that_are_not_utf8_are_refused_with_the_place),
        cmocka_unit_test(streams_return_whole_characters),
        cmocka_unit_test(decoding_omits_special_tokens_on_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
