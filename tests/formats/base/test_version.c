/* test_version.c - the version as text and as a number agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "formats/base/version.h"

static void text_and_number_agree(void **state)
{
    (void)state;
    const int number = lvlm_version_number();
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", number / 10000, number / 100 % 100,
             number % 100);
    assert_string_equal(text, lvlm_version());
}

static void version_at_run_time_equals_that_of_the_header(void **state)
{
    (void)state;
    assert_string_equal(lvlm_version(), LVLM_VERSION);
    assert_int_equal(lvlm_version_number(), LVLM_VERSION_NUMBER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_number_agree),
        cmocka_unit_test(version_at_run_time_equals_that_of_the_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
