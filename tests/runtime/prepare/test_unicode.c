/* test_unicode.c - every character in patterns and normal forms, compared with
 * recordings of the reference (fixtures/unicode_newer.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <utf8proc.h>
#include <zlib.h>

#include "formats/base/alloc.h"
#include "formats/base/infile.h"
#include "formats/base/json.h"
#include "runtime/prepare/tokenizer/normal_form.h"
#include "runtime/prepare/tokenizer/word_split.h"

#ifndef LVLM_FIXTURES /* set by the build */
#define LVLM_FIXTURES "fixtures"
#endif

enum { N_POINTS = 0x110000 };

static int read_recorded(void **state)
{
    lvlm_infile *file = NULL;
    cJSON *json = NULL;
    if (lvlm_infile_open(&file, LVLM_FIXTURES "/tokenizers/unicode.json", NULL) < 0 ||
        lvlm_json_parse(&json, (const char *)file->bytes, file->n_bytes, NULL) < 0)
        return -1;
    lvlm_infile_close(file);
    *state = json;
    return 0;
}

static int free_recorded(void **state)
{
    lvlm_json_free(*state);
    return 0;
}

static bool is_character(int32_t c)
{
    return c < 0xd800 || c > 0xdfff;
}

static void put_char(lvlm_strbuf *out, int32_t c)
{
    utf8proc_uint8_t bytes[4];
    lvlm_strbuf_append(out, bytes, (size_t)utf8proc_encode_char(c, bytes));
}

/* ---- categories ------------------------------------------------------------------ */

/* The sink of a split that removes what matches. */
static int take_unmatched(void *user, const char *word, size_t n_bytes, lvlm_error *err)
{
    unsigned char *const unmatched = user;
    (void)err;
    for (size_t at = 0; at < n_bytes;) {
        utf8proc_int32_t c;
        at += (size_t)utf8proc_iterate((const utf8proc_uint8_t *)word + at,
                                       (utf8proc_ssize_t)(n_bytes - at), &c);
        unmatched[c] = 1;
    }
    return 0;
}

static void check_category(const cJSON *recorded, const lvlm_strbuf *everything)
{
    word_split split = { .n = 0 };
    unsigned char *const unmatched = lvlm_calloc(N_POINTS, 1);
    const cJSON *bound = lvlm_json_first_item(recorded);
    bool inside = false;
    assert_int_equal(
        word_split_add(&split, WORD_SPLIT_REMOVED, recorded->string, false, NULL), 0);
    assert_int_equal(word_split_apply(&split, everything->text, everything->length,
                                      take_unmatched, unmatched, NULL),
                     0);
    for (int32_t c = 0; c < N_POINTS; c++) {
        if (!inside && bound != NULL && c == (int32_t)bound->valuedouble) {
            inside = true;
            bound = bound->next; /* the last one of the range */
        }
        if (is_character(c) && unmatched[c] == inside)
            fail_msg("%s: U+%04X", recorded->string, (unsigned)c);
        if (inside && c == (int32_t)bound->valuedouble) {
            inside = false;
            bound = bound->next;
        }
    }
    assert_null(bound);
    lvlm_free(unmatched);
    word_split_free(&split);
}

static void patterns_match_every_character_as_the_reference_does(void **state)
{
    const cJSON *category;
    lvlm_strbuf everything = LVLM_STRBUF_INIT(8 << 20);
    for (int32_t c = 0; c < N_POINTS; c++)
        if (is_character(c)) put_char(&everything, c);
    assert_int_equal(lvlm_strbuf_check(&everything, NULL), 0);
    LVLM_JSON_ITEMS (category, lvlm_json_get(*state, "classes"))
        check_category(category, &everything);
    lvlm_strbuf_free(&everything);
}

/* ---- normal forms ---------------------------------------------------------------- */

/* Compare the normal form of `text` by one step with `expected`. */
static void expect_form(normal_kind kind, const char *from, const char *to,
                        const char *text, const char *expected)
{
    normal_form form = { .n = 0 };
    lvlm_strbuf out = LVLM_STRBUF_INIT(1000);
    lvlm_strbuf_append(&out, "", 0);
    assert_int_equal(normal_form_add(&form, kind, from, to, NULL), 0);
    assert_int_equal(normal_form_apply(&form, &out, text, strlen(text), NULL), 0);
    assert_string_equal(out.text, expected);
    lvlm_strbuf_free(&out);
    normal_form_free(&form);
}

/* As in the recorder. */
static void put_among_marks(lvlm_strbuf *out, int32_t c)
{
    put_char(out, c);
    lvlm_strbuf_puts(out, "\nq\u0345");
    put_char(out, c);
    lvlm_strbuf_puts(out, "\nq");
    put_char(out, c);
    lvlm_strbuf_puts(out, "\u0334\na");
    put_char(out, c);
    lvlm_strbuf_puts(out, "\u0301\n");
    put_char(out, c);
    lvlm_strbuf_puts(out, "\u0300\n");
}

static void nfc_of_every_character_equals_the_references(void **state)
{
    normal_form form = { .n = 0 };
    lvlm_strbuf text = LVLM_STRBUF_INIT(1 << 20), out = LVLM_STRBUF_INIT(1 << 20);
    uLong value = 0;
    uint64_t expected;
    assert_true(lvlm_json_u64(&expected, lvlm_json_get(*state, "nfc")));
    assert_int_equal(normal_form_add(&form, NORMAL_NFC_UNICODE_9, NULL, NULL, NULL), 0);
    for (int32_t c = 0; c < N_POINTS; c++) {
        if (is_character(c)) put_among_marks(&text, c);
        if ((c & 0xfff) != 0xfff) continue;
        assert_int_equal(normal_form_apply(&form, &out, text.text, text.length, NULL),
                         0);
        value = crc32(value, (const Bytef *)out.text, (uInt)out.length);
        text.length = out.length = 0;
    }
    assert_int_equal(value, expected);
    lvlm_strbuf_free(&text);
    lvlm_strbuf_free(&out);
    normal_form_free(&form);
}

static void nfc_composes_by_the_given_version_of_unicode(void **state)
{
    (void)state;
    expect_form(NORMAL_NFC, NULL, NULL, "e\u0301 \u1100\u1161\u11a8", "\u00e9 \uac01");
    expect_form(NORMAL_NFC, NULL, NULL, "a\u0323\u0302", "\u1ead");
    expect_form(NORMAL_NFC, NULL, NULL, "a\u0302\u0323", "\u1ead");
    expect_form(NORMAL_NFC, NULL, NULL, "\u0301e", "\u0301e");
    /* U+07FD and U+11938 are of Unicode 11 and 13 */
    expect_form(NORMAL_NFC, NULL, NULL, "a\u07fd\u0301", "\u00e1\u07fd");
    expect_form(NORMAL_NFC_UNICODE_9, NULL, NULL, "a\u07fd\u0301", "a\u07fd\u0301");
    expect_form(NORMAL_NFC, NULL, NULL, "\U00011935\U00011930", "\U00011938");
    expect_form(NORMAL_NFC_UNICODE_9, NULL, NULL, "\U00011935\U00011930",
                "\U00011935\U00011930");
}

/* Ordering that is quadratic would take hours. */
static void nfc_orders_a_long_run_of_marks(void **state)
{
    enum { N = 500000 };
    normal_form form = { .n = 0 };
    lvlm_strbuf text = LVLM_STRBUF_INIT(4 << 20), out = LVLM_STRBUF_INIT(4 << 20);
    (void)state;
    lvlm_strbuf_puts(&text, "q");
    for (size_t i = 0; i < N; i++) lvlm_strbuf_puts(&text, "\u0345\u0334");
    assert_int_equal(normal_form_add(&form, NORMAL_NFC, NULL, NULL, NULL), 0);
    assert_int_equal(normal_form_apply(&form, &out, text.text, text.length, NULL), 0);
    assert_int_equal(out.length, text.length);
    for (size_t i = 0; i < N; i++) {
        assert_memory_equal(out.text + 1 + 2 * i, "\u0334", 2);
        assert_memory_equal(out.text + 1 + 2 * (N + i), "\u0345", 2);
    }
    lvlm_strbuf_free(&text);
    lvlm_strbuf_free(&out);
    normal_form_free(&form);
}

static void steps_replace_prepend_squeeze_and_trim(void **state)
{
    (void)state;
    expect_form(NORMAL_REPLACE, " ", "_", " a  b ", "_a__b_");
    expect_form(NORMAL_REPLACE, "ab", "", "aabab", "a");
    expect_form(NORMAL_REPLACE, "ab", "", "", "");
    expect_form(NORMAL_PREPEND, NULL, "_", "a", "_a");
    expect_form(NORMAL_PREPEND, NULL, "_", "", "");
    expect_form(NORMAL_SQUEEZE_SPACES, NULL, NULL, "  a   b  ", "a b ");
    expect_form(NORMAL_SQUEEZE_SPACES, NULL, NULL, "   ", "");
    expect_form(NORMAL_TRIM_END, "__", NULL, "a_____", "a_");
    expect_form(NORMAL_TRIM_END, "__", NULL, "____", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_every_character_as_the_reference_does),
        cmocka_unit_test(nfc_of_every_character_equals_the_references),
        cmocka_unit_test(nfc_composes_by_the_given_version_of_unicode),
        cmocka_unit_test(nfc_orders_a_long_run_of_marks),
        cmocka_unit_test(steps_replace_prepend_squeeze_and_trim),
    };
    return cmocka_run_group_tests(tests, read_recorded, free_recorded);
}
