/* test_utf8.c - validity of UTF-8, and lengths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/utf8.h"

static void utf8_follows_rfc_3629(void **state)
{
    static const char *const good[] = { "",
                                        "a",
                                        "\x7f",
                                        "\xc2\x80",
                                        "\xe0\xa0\x80",
                                        "\xed\x9f\xbf",
                                        "\xee\x80\x80",
                                        "\xf0\x90\x80\x80",
                                        "\xf4\x8f\xbf\xbf" };
    static const char *const bad[] = { "\x80",
                                       "\xc0\x80",
                                       "\xc1\xbf",
                                       "\xe0\x9f\xbf",
                                       "\xed\xa0\x80",
                                       "\xed\xbf\xbf",
                                       "\xf0\x8f\xbf\xbf",
                                       "\xf4\x90\x80\x80",
                                       "\xf5\x80\x80\x80",
                                       "\xff",
                                       "\xc2",
                                       "\xe2\x82",
                                       "\xc2 ",
                                       "\xe2\x82 " };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(lvlm_utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(lvlm_utf8_valid(bad[i], strlen(bad[i])));
}

static void utf8_reports_where_it_breaks(void **state)
{
    (void)state;
    assert_int_equal(lvlm_utf8_invalid_at("", 0), 0);
    assert_int_equal(lvlm_utf8_invalid_at("a\0\xc3\xa9", 4), 4);
    assert_int_equal(lvlm_utf8_invalid_at("a\xc3\xa9\xa9", 4), 3);
    assert_int_equal(lvlm_utf8_invalid_at("a\xe2\x82", 3), 1);
}

static void utf8_parts_extend_while_they_could_be_a_character(void **state)
{
    static const struct {
        const char *bytes;
        lvlm_utf8_part part;
        size_t length;
    } parts[] = {
        { "a", LVLM_UTF8_WHOLE, 1 },
        { "\xf0\x9f\x98\x80z", LVLM_UTF8_WHOLE, 4 },
        { "\xf0\x9f\x98", LVLM_UTF8_BEGUN, 3 },
        { "\xe2", LVLM_UTF8_BEGUN, 1 },
        { "\xf0\x9f\x98z", LVLM_UTF8_BROKEN, 3 },
        { "\xf0\x9f\xf0\x9f", LVLM_UTF8_BROKEN, 2 },
        { "\xe0\x80\x80", LVLM_UTF8_BROKEN, 1 }, /* overlong: not even a beginning */
        { "\xed\xa0\x80", LVLM_UTF8_BROKEN, 1 }, /* a surrogate */
        { "\x80\x80", LVLM_UTF8_BROKEN, 1 },
        { "\xff", LVLM_UTF8_BROKEN, 1 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t length = 0;
        assert_int_equal(
            lvlm_utf8_next(&length, parts[i].bytes, strlen(parts[i].bytes)),
            parts[i].part);
        assert_int_equal(length, parts[i].length);
    }
}

static void visible_escapes_control_and_broken_characters(void **state)
{
    static const struct {
        const char *from, *shown;
    } texts[] = {
        { "", "" },
        { "plain \\ text, \xc3\xa9\xf0\x9f\x98\x80",
          "plain \\ text, \xc3\xa9\xf0\x9f\x98\x80" },
        { "a\x1b]0;x\x07\nb\t\x7f", "a\\x1b]0;x\\x07\\x0ab\\x09\\x7f" },
        { "c1 \xc2\x9b, no-break space \xc2\xa0",
          "c1 \\xc2\\x9b, no-break space \xc2\xa0" },
        { "broken \xe2\x82", "broken \\xe2\\x82" },
        { "\xff", "\\xff" },
    };
    char text[64], small[8];
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_string_equal(lvlm_visible(text, sizeof text, texts[i].from),
                            texts[i].shown);
    assert_ptr_equal(lvlm_visible(text, 1, texts[1].from), texts[1].from);
    assert_string_equal(lvlm_visible(small, sizeof small, "ab\n\nc"), "ab\\x0a");
    assert_string_equal(lvlm_visible(small, sizeof small, "\xc2\x80"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_follows_rfc_3629),
        cmocka_unit_test(utf8_reports_where_it_breaks),
        cmocka_unit_test(utf8_parts_extend_while_they_could_be_a_character),
        cmocka_unit_test(visible_escapes_control_and_broken_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
