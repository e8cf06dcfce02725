/* test_jsonl.c - where the values of a file begin, and messages about bad ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/json.h"
#include "runtime/tune/data/jsonl.h"
#include "tests/support/scratch.h"

/* A file of that text, opened. */
static int open_text(scratch *s, lvlm_jsonl *out, const char *text, lvlm_error *err)
{
    return lvlm_jsonl_open(out, scratch_write(s, "data.jsonl", text, strlen(text)),
                           err);
}

static void holds(scratch *s, const char *text, size_t n, const uint32_t *lines)
{
    lvlm_jsonl file;
    lvlm_error err;
    assert_int_equal(open_text(s, &file, text, &err), 0);
    assert_int_equal(file.n, n);
    for (size_t i = 0; i < n; i++) {
        cJSON *value = NULL;
        uint64_t got;
        assert_int_equal(file.values[i].line, lines[i]);
        assert_int_equal(lvlm_jsonl_parse(&value, &file, i, &err), 0);
        assert_true(lvlm_json_u64(&got, lvlm_json_get(value, "i")));
        assert_int_equal(got, i);
        lvlm_json_free(value);
    }
    lvlm_jsonl_close(&file);
}

static void jsonl_finds_every_line_with_a_value(void **state)
{
    scratch s = { .next = 0 };
    (void)state;
    scratch_make(&s);
    const uint32_t plain[] = { 1, 2, 3 }, blank[] = { 3, 5 };
    holds(&s, "{\"i\":0}\n{\"i\":1}\n{\"i\":2}\n", 3, plain);
    holds(&s, "{\"i\":0}\r\n{\"i\":1}\r\n{\"i\":2}", 3, plain);
    holds(&s, "\n \t\n  {\"i\":0}  \n\n{\"i\":1}\n\n \n", 2, blank);
    scratch_remove(&s);
}

static void jsonl_skips_a_byte_order_mark(void **state)
{
    scratch s = { .next = 0 };
    lvlm_jsonl file;
    lvlm_error err;
    const uint32_t lines[] = { 1, 2 }, one[] = { 1 };
    (void)state;
    scratch_make(&s);
    holds(&s, "\xef\xbb\xbf{\"i\":0}\n{\"i\":1}\n", 2, lines);
    holds(&s, "\xef\xbb\xbf[{\"i\":0}]", 1, one);
    assert_int_equal(open_text(&s, &file, "\xff\xfe{", &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "is UTF-16 text; save it as UTF-8"));
    lvlm_jsonl_close(&file);
    scratch_remove(&s);
}

static void jsonl_finds_the_elements_of_a_list(void **state)
{
    scratch s = { .next = 0 };
    (void)state;
    scratch_make(&s);
    const uint32_t pretty[] = { 3, 7, 8 }, one[] = { 1, 1, 1 };
    holds(&s,
          "\n[\n  {\n    \"i\": 0,\n    \"x\": [1, {\"y\": \"]},\\\"[\"}]\n  },\n"
          "  {\"i\": 1, \"x\": \"\\\\\"},\n{\"i\":2}\n]\n",
          3, pretty);
    holds(&s, "[{\"i\":0},{\"i\":1} , {\"i\":2}]", 3, one);
    scratch_remove(&s);
}

static void refuses(scratch *s, const char *text, const char *said)
{
    lvlm_jsonl file;
    lvlm_error err;
    assert_int_equal(open_text(s, &file, text, &err), LVLM_EFORMAT);
    if (strstr(err.text, said) == NULL) fail_msg("'%s' lacks '%s'", err.text, said);
    lvlm_jsonl_close(&file);
}

static void jsonl_refuses_files_without_an_end_or_a_value(void **state)
{
    scratch s = { .next = 0 };
    (void)state;
    scratch_make(&s);
    refuses(&s, "", "data.jsonl: holds no example");
    refuses(&s, " \n\n", "data.jsonl: holds no example");
    refuses(&s, "[]", "data.jsonl: holds no example");
    refuses(&s, "[{\"i\":0},\n{\"i\":1}\n",
            "data.jsonl:3: the file ends inside the list");
    refuses(&s, "[\"a", "data.jsonl:1: the file ends inside the list");
    refuses(&s, "[\"a\\", "data.jsonl:1: the file ends inside the list");
    refuses(&s, "[{\"i\":0}]\n\n{\"i\":1}", "data.jsonl:3: more after the list");
    scratch_remove(&s);
}

/* The message has the line, and the byte in the value. */
static void jsonl_names_the_line_of_a_broken_value(void **state)
{
    static const struct {
        const char *text;
        size_t value;
        const char *said;
    } cases[] = {
        { "{\"i\":0}\n\n{\"i\":1\n", 1, "data.jsonl:3: not JSON at byte 6" },
        { "{\"i\":0} {\"i\":1}\n", 0, "data.jsonl:1: " },
        { "{\"i\":0}\n{\"i\":1,\"i\":2}\n", 1, "data.jsonl:2: " },
        { "{\"i\":0}\n{\"i\":\"\xff\"}\n", 1, "data.jsonl:2: " },
        { "[{\"i\":0},\n\n]", 1, "data.jsonl:3: not JSON at byte 0" },
        { "[,{\"i\":0}]", 0, "data.jsonl:1: not JSON at byte 0" },
        { "[{\"i\":0}\n{\"i\":1}]", 0, "data.jsonl:1: " },
        { "[{\"i\":0}}]", 0, "data.jsonl:1: " },
    };
    scratch s = { .next = 0 };
    (void)state;
    scratch_make(&s);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lvlm_jsonl file;
        lvlm_error err;
        cJSON *value = NULL;
        assert_int_equal(open_text(&s, &file, cases[i].text, &err), 0);
        assert_int_equal(lvlm_jsonl_parse(&value, &file, cases[i].value, &err),
                         LVLM_EFORMAT);
        if (strstr(err.text, cases[i].said) == NULL)
            fail_msg("case %zu: '%s' lacks '%s'", i, err.text, cases[i].said);
        lvlm_jsonl_close(&file);
    }
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jsonl_finds_every_line_with_a_value),
        cmocka_unit_test(jsonl_skips_a_byte_order_mark),
        cmocka_unit_test(jsonl_finds_the_elements_of_a_list),
        cmocka_unit_test(jsonl_refuses_files_without_an_end_or_a_value),
        cmocka_unit_test(jsonl_names_the_line_of_a_broken_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
