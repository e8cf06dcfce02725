/* test_strbuf.c - a growing text with a limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/strbuf.h"

static void strbuf_never_grows_beyond_its_maximum(void **state)
{
    lvlm_strbuf buf = LVLM_STRBUF_INIT(10);
    (void)state;
    lvlm_strbuf_puts(&buf, "12345");
    lvlm_strbuf_printf(&buf, "%d", 67890);
    assert_int_equal(lvlm_strbuf_check(&buf, NULL), 0);
    assert_string_equal(buf.text, "1234567890");
    lvlm_strbuf_puts(&buf, "!");
    lvlm_strbuf_puts(&buf, ""); /* the first failure sticks */
    assert_int_equal(lvlm_strbuf_check(&buf, NULL), LVLM_ENOMEM);
    assert_string_equal(buf.text, "1234567890");
    lvlm_strbuf_free(&buf);
}

static void strbuf_keeps_what_it_was_given(void **state)
{
    lvlm_strbuf buf = LVLM_STRBUF_INIT(100000);
    (void)state;
    for (int i = 0; i < 1000; i++) lvlm_strbuf_printf(&buf, "%04d,", i);
    lvlm_strbuf_append(&buf, "a\0b", 3); /* zero bytes are bytes */
    assert_int_equal(lvlm_strbuf_check(&buf, NULL), 0);
    assert_int_equal(buf.length, 5003);
    assert_memory_equal(buf.text + 4995, "0999,a\0b", 9); /* and a final zero */
    lvlm_strbuf_free(&buf);
}

static void strbuf_reports_that_its_limit_was_reached(void **state)
{
    lvlm_strbuf buf = LVLM_STRBUF_INIT(3);
    lvlm_error err;
    (void)state;
    lvlm_strbuf_printf(&buf, "%s", "1234");
    assert_null(buf.text); /* no text at all, not the beginning of it */
    assert_int_equal(lvlm_strbuf_check(&buf, &err), LVLM_ENOMEM);
    assert_non_null(strstr(err.text, "over its limit of 3"));
    lvlm_strbuf_free(&buf);
    lvlm_strbuf_puts(&buf, "123"); /* freed is empty, with the same maximum */
    assert_int_equal(lvlm_strbuf_check(&buf, NULL), 0);
    lvlm_strbuf_free(&buf);
}

static void strbuf_escapes_texts_for_xml(void **state)
{
    lvlm_strbuf buf = LVLM_STRBUF_INIT(100);
    (void)state;
    lvlm_strbuf_xml(&buf, "a<b> & \"c\"]]>");
    assert_string_equal(buf.text, "a&lt;b&gt; &amp; \"c\"]]&gt;");
    lvlm_strbuf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strbuf_never_grows_beyond_its_maximum),
        cmocka_unit_test(strbuf_keeps_what_it_was_given),
        cmocka_unit_test(strbuf_reports_that_its_limit_was_reached),
        cmocka_unit_test(strbuf_escapes_texts_for_xml),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
