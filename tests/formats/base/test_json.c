/* test_json.c - strict parsing, exact numbers, stable printing. */
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/strbuf.h"

static void json_refuses_malformed_text(void **state)
{
    static const struct {
        const char *text;
        size_t n; /* 0: strlen */
        const char *message;
    } bad[] = {
        { "", 0, "not JSON" },
        { "{", 0, "not JSON" },
        { "{\"a\":1,}", 0, "not JSON" },
        { "nul", 0, "not JSON at byte 3" },
        { "01", 0, "1 byte after the value, at byte 1" },
        { "[1.]", 0, "not JSON at byte 3" },
        { "[.5]", 0, "not JSON at byte 1" },
        { "[1e]", 0, "not JSON at byte 3" },
        { "+1", 0, "not JSON at byte 0" },
        { "NaN", 0, "not JSON at byte 0" },
        { "[1 2]", 0, "not JSON at byte 3" },
        { "{\"a\" 1}", 0, "not JSON at byte 5" },
        { "{a:1}", 0, "not JSON at byte 1" },
        { "\"a\nb\"", 0, "not JSON at byte 2" },  /* a raw new line */
        { "\"\\x41\"", 0, "not JSON at byte 2" }, /* no such escape */
        { "\"\\u00g0\"", 0, "not JSON at byte 5" },
        { "\"\\ud800\"", 0, "not JSON at byte 7" }, /* half a pair */
        { "\"\\udc00\"", 0, "not JSON at byte 7" },
        { "\xef\xbb\xbf{}", 0, "not JSON: begins with a byte order mark of UTF-8" },
        { "\xff\xfe{\0}\0", 6, "not JSON: begins with a byte order mark of UTF-16" },
        { "{\"a\":1,\"\\u0061\":2}", 0, "duplicate key 'a'" }, /* other spelling */
        { "{\"a\":{\"a\":1},\"b\":[{\"a\":1}],\"a\":1}", 0, "duplicate key 'a'" },
        { "{} []", 0, "2 bytes after the value, at byte 3" },
        { "[\v1]", 0, "not JSON at byte 1" }, /* no white space of JSON */
        { "0.00000000000000000000000000000000000000000000000000000000000001", 0,
          "number of more than 63 characters at byte 0" },
        { "1 2", 0, "1 byte after the value, at byte 2" },
        { "{\"a\":1,\"b\":2,\"a\":3}", 0, "duplicate key 'a'" },
        { "[{\"x\":{\"k\":1,\"k\":1}}]", 0, "duplicate key 'k'" },
        { "\"\\udc00\\ud800\"", 0, "not JSON" },
        { "\"\\u0000\"", 0, "zero character" },
        { "\"a\0b\"", 5, "zero byte at byte 2" },
        { "\"\xc0\xaf\"", 0, "not UTF-8 at byte 1" },         /* overlong */
        { "\"\xed\xa0\x80\"", 0, "not UTF-8 at byte 1" },     /* surrogate */
        { "\"\xf4\x90\x80\x80\"", 0, "not UTF-8 at byte 1" }, /* beyond Unicode */
        { "\"\xe2\x82", 0, "not UTF-8 at byte 1" },           /* cut off */
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const size_t n = bad[i].n > 0 ? bad[i].n : strlen(bad[i].text);
        cJSON *json = NULL;
        lvlm_error err = { .text = "" };
        assert_int_equal(lvlm_json_parse(&json, bad[i].text, n, &err), LVLM_EFORMAT);
        if (strstr(err.text, bad[i].message) == NULL) fail_msg("%s", err.text);
    }
}

static void json_bounds_its_depth(void **state)
{
    char text[2 * 65 + 1];
    cJSON *json = NULL;
    lvlm_error err;
    (void)state;
    for (size_t depth = 64; depth <= 65; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        const int rc = lvlm_json_parse(&json, text, 2 * depth, &err);
        assert_int_equal(rc, depth == 64 ? 0 : LVLM_EFORMAT);
        if (rc == 0) lvlm_json_free(json);
    }
    /* brackets inside text are ignored */
    assert_int_equal(lvlm_json_parse(&json, "\"[[[[[[[[\\\"[[[\"", 15, &err), 0);
    lvlm_json_free(json);
}

static void json_checks_many_keys_quickly(void **state)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(4 << 20);
    cJSON *json = NULL;
    (void)state;
    lvlm_strbuf_puts(&text, "{\"k\":0");
    for (int i = 0; i < 100000; i++) lvlm_strbuf_printf(&text, ",\"key%d\":%d", i, i);
    lvlm_strbuf_puts(&text, "}");
    assert_int_equal(lvlm_json_parse(&json, text.text, text.length, NULL), 0);
    lvlm_json_free(json);
    text.text[text.length - 1] = ',';
    lvlm_strbuf_puts(&text, "\"key77\":1}");
    assert_int_equal(lvlm_json_parse(&json, text.text, text.length, NULL),
                     LVLM_EFORMAT);
    lvlm_strbuf_free(&text);
}

static void json_integers_are_exact_or_refused(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } numbers[] = {
        { "0", true, 0 },
        { "9007199254740992", true, 9007199254740992u },
        { "9007199254740991", true, 9007199254740991u },
        { "9007199254740993", false, 0 }, /* the nearest double is 2^53 */
        { "9007199254740994", false, 0 },
        { "0.99999999999999999999", false, 0 }, /* 1 as a double */
        { "1.0000000000000000001", false, 0 },
        { "4503599627370496.2", false, 0 },
        { "1e-400", false, 0 },
        { "1.0", true, 1 },
        { "12.50e1", true, 125 },
        { "3000000000", true, 3000000000u }, /* more than an int */
        { "-0", true, 0 },
        { "-1", false, 0 },
        { "1.5", false, 0 },
        { "1e300", false, 0 },
        { "\"1\"", false, 0 },
        { "null", false, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        cJSON *json = NULL;
        uint64_t value = 0;
        assert_int_equal(
            lvlm_json_parse(&json, numbers[i].text, strlen(numbers[i].text), NULL), 0);
        assert_int_equal(lvlm_json_u64(&value, json), numbers[i].ok);
        assert_int_equal(value, numbers[i].value);
        lvlm_json_free(json);
    }
}

static void expect_print(const char *in, const char *out)
{
    cJSON *json = NULL;
    char *text = NULL;
    assert_int_equal(lvlm_json_parse(&json, in, strlen(in), NULL), 0);
    assert_int_equal(lvlm_json_print(&text, json, NULL), 0);
    assert_string_equal(text, out);
    lvlm_free(text);
    lvlm_json_free(json);
}

static void json_prints_the_same_text_that_it_read(void **state)
{
    (void)state;
    expect_print("{ \"b\" : [ 1 , true , null ] , \"a\" : {} }",
                 "{\"b\":[1,true,null],\"a\":{}}");
    expect_print("[1e-06,10000.0,0.1,1e300,-5]", "[1e-06,10000,0.1,1e+300,-5]");
    expect_print("\"\\u0001\\t\\\"\\\\\\/\\u00e9\"", "\"\\u0001\\t\\\"\\\\/\xc3\xa9\"");
    expect_print("[]", "[]");
    expect_print(" [ -0.0 , 5e-324 , 2.5e-310 , 0.3 ] ", "[-0,5e-324,2.5e-310,0.3]");
    expect_print("\"\\ud83d\\uDE00\"", "\"\xf0\x9f\x98\x80\"");
    expect_print("[9007199254740992,-9007199254740992,123456789012]",
                 "[9007199254740992,-9007199254740992,123456789012]");
}

static void json_prints_the_fewest_digits(void **state)
{
    static const struct {
        double value;
        const char *text;
    } numbers[] = {
        { 0.1, "0.1" },
        { 1.0 / 3, "0.3333333333333333" },
        { 5e-324, "5e-324" }, /* a subnormal: fifteen digits are too many */
        { 2.2250738585072014e-308, "2.2250738585072014e-308" },
        { 1.7976931348623157e308, "1.7976931348623157e+308" },
        { 9007199254740992, "9007199254740992" },
        { -9007199254740992, "-9007199254740992" },
        { 9007199254740994, "9007199254740994" },
        { 1e22, "1e+22" },
        { -0.0, "-0" },
        { NAN, "null" },
        { -INFINITY, "null" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        cJSON *json = cJSON_CreateNumber(numbers[i].value);
        char *text = NULL;
        assert_int_equal(lvlm_json_print(&text, json, NULL), 0);
        assert_string_equal(text, numbers[i].text);
        lvlm_free(text);
        lvlm_json_free(json);
    }
}

static void json_does_not_follow_the_locale(void **state)
{
    static const char *const with_comma[] = { "de_DE.UTF-8", "de_DE.utf8",
                                              "fr_FR.UTF-8", "fr_FR.utf8", "de_DE" };
    size_t i = 0;
    (void)state;
    while (i < 5 && setlocale(LC_ALL, with_comma[i]) == NULL) i++;
    if (i == 5) skip(); /* none is installed */
    expect_print("[0.5,-2.25e-10,1]", "[0.5,-2.25e-10,1]");
    assert_non_null(setlocale(LC_ALL, "C"));
}

static void json_accepts_all_of_unicode(void **state)
{
    (void)state;
    expect_print("\"\\u00e9\\uffff\\ud83d\\ude00\"",
                 "\"\xc3\xa9\xef\xbf\xbf\xf0\x9f\x98\x80\"");
    expect_print("\"\xf4\x8f\xbf\xbf\"", "\"\xf4\x8f\xbf\xbf\"");
    expect_print("\"\\\\u0000\"", "\"\\\\u0000\""); /* an escaped backslash */
}

static void json_doubles_survive_printing(void **state)
{
    uint64_t bits = 88172645463325252u;
    (void)state;
    for (int i = 0; i < 20000; i++) {
        double value, back;
        char *text = NULL;
        cJSON *again = NULL;
        bits ^= bits << 13, bits ^= bits >> 7, bits ^= bits << 17;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        cJSON *json = cJSON_CreateNumber(value);
        assert_int_equal(lvlm_json_print(&text, json, NULL), 0);
        assert_int_equal(lvlm_json_parse(&again, text, strlen(text), NULL), 0);
        assert_true(lvlm_json_double(&back, again) && back == value);
        lvlm_free(text);
        lvlm_json_free(json);
        lvlm_json_free(again);
    }
}

static void json_indents_for_people(void **state)
{
    static const char in[] = "{\"a\":[1,{},30.0,0.5],\"b\":[]}";
    cJSON *json = NULL;
    char *text = NULL;
    (void)state;
    assert_int_equal(lvlm_json_parse(&json, in, sizeof in - 1, NULL), 0);
    assert_int_equal(lvlm_json_print_pretty(&text, json, NULL), 0);
    assert_string_equal(text,
                        "{\n  \"a\": [\n    1,\n    {},\n    30.0,\n    0.5\n  ],\n"
                        "  \"b\": []\n}\n");
    lvlm_free(text);
    lvlm_json_free(json);
}

static void json_prints_null_for_infinity(void **state)
{
    cJSON *json = cJSON_CreateObject();
    char *text = NULL;
    double value = 0;
    (void)state;
    cJSON_AddNumberToObject(json, "inf", INFINITY);
    cJSON_AddNumberToObject(json, "one", 1);
    assert_int_equal(lvlm_json_print(&text, json, NULL), 0);
    assert_string_equal(text, "{\"inf\":null,\"one\":1}");
    assert_false(lvlm_json_double(&value, lvlm_json_get(json, "inf")));
    assert_null(lvlm_json_string(lvlm_json_get(json, "one")));
    lvlm_free(text);
    lvlm_json_free(json);
}

static void json_paths_lead_through_objects(void **state)
{
    cJSON *json = NULL;
    uint64_t value;
    (void)state;
    assert_int_equal(lvlm_json_parse(&json, "{\"a\":{\"B\":{\"c\":7}}}", 19, NULL), 0);
    assert_true(lvlm_json_u64(&value, lvlm_json_path(json, "a.B.c")) && value == 7);
    assert_int_equal(lvlm_json_whole(json, "a.B.c"), 7);
    assert_int_equal(lvlm_json_whole(json, "a.B"), 0);
    assert_null(lvlm_json_path(json, "a.b.c")); /* case counts */
    assert_null(lvlm_json_path(json, "a.B.c.d"));
    assert_null(lvlm_json_path(NULL, "a"));
    lvlm_json_free(json);
}

static void a_null_is_not_given(void **state)
{
    const char text[] = "{\"none\":null,\"no\":false,\"zero\":0}";
    cJSON *json = NULL;
    (void)state;
    assert_int_equal(lvlm_json_parse(&json, text, strlen(text), NULL), 0);
    assert_null(lvlm_json_given(json, "none"));
    assert_null(lvlm_json_given(json, "absent"));
    assert_null(lvlm_json_given(NULL, "none"));
    assert_ptr_equal(lvlm_json_given(json, "no"), lvlm_json_get(json, "no"));
    assert_ptr_equal(lvlm_json_given(json, "zero"), lvlm_json_get(json, "zero"));
    lvlm_json_free(json);
}

static void loops_over_lists_and_objects_check_the_kind(void **state)
{
    const char text[] = "{\"list\":[1,2,3],\"object\":{\"a\":1,\"b\":2},\"n\":4}";
    cJSON *json = NULL;
    assert_int_equal(lvlm_json_parse(&json, text, strlen(text), NULL), 0);
    const cJSON *const list = lvlm_json_get(json, "list");
    const cJSON *const object = lvlm_json_get(json, "object");
    const cJSON *item;
    size_t n = 0;
    (void)state;
    LVLM_JSON_ITEMS (item, object) n++;
    LVLM_JSON_MEMBERS (item, list) n++;
    LVLM_JSON_ITEMS (item, lvlm_json_get(json, "n")) n++;
    LVLM_JSON_MEMBERS (item, NULL) n++;
    assert_int_equal(n, 0);
    LVLM_JSON_ITEMS (item, list) n++;
    LVLM_JSON_MEMBERS (item, object) n++;
    assert_int_equal(n, 5);
    assert_int_equal(lvlm_json_count(list), 3);
    assert_int_equal(lvlm_json_count(object), 0);
    assert_int_equal(lvlm_json_count_members(object), 2);
    assert_int_equal(lvlm_json_count_members(list), 0);
    assert_null(lvlm_json_item(object, 0));
    assert_null(lvlm_json_item(list, 3));
    assert_non_null(lvlm_json_item(list, 2));
    lvlm_json_free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_refuses_malformed_text),
        cmocka_unit_test(json_bounds_its_depth),
        cmocka_unit_test(json_checks_many_keys_quickly),
        cmocka_unit_test(json_integers_are_exact_or_refused),
        cmocka_unit_test(json_prints_the_same_text_that_it_read),
        cmocka_unit_test(json_prints_the_fewest_digits),
        cmocka_unit_test(json_does_not_follow_the_locale),
        cmocka_unit_test(json_accepts_all_of_unicode),
        cmocka_unit_test(json_doubles_survive_printing),
        cmocka_unit_test(json_indents_for_people),
        cmocka_unit_test(loops_over_lists_and_objects_check_the_kind),
        cmocka_unit_test(json_prints_null_for_infinity),
        cmocka_unit_test(json_paths_lead_through_objects),
        cmocka_unit_test(a_null_is_not_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
