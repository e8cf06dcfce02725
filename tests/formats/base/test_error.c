/* test_error.c - one line per failure, prefixed with context. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/error.h"

static void errors_gain_a_prefix_of_context(void **state)
{
    lvlm_error err;
    (void)state;
    assert_int_equal(lvlm_fail(&err, LVLM_EFORMAT, "ends at %d", 7), LVLM_EFORMAT);
    lvlm_prefix(&err, "tensor '%s': ", "x");
    lvlm_prefix(&err, "f.safetensors: ");
    assert_string_equal(err.text, "f.safetensors: tensor 'x': ends at 7");
    assert_int_equal(err.code, LVLM_EFORMAT);
    assert_int_equal(lvlm_fail(NULL, LVLM_EIO, "nobody listens"), LVLM_EIO);
    lvlm_prefix(NULL, "nobody listens");
    assert_int_equal(lvlm_fail_memory(NULL), LVLM_ENOMEM);
}

static void errors_include_the_systems_message(void **state)
{
    lvlm_error err;
    (void)state;
    errno = ENOENT;
    assert_int_equal(lvlm_fail_errno(&err, "%s: cannot open", "f"), LVLM_EIO);
    assert_string_equal(err.text, "f: cannot open: No such file or directory");
    assert_int_equal(err.code, LVLM_EIO);
}

static void errors_are_cut_at_the_end_and_never_overrun(void **state)
{
    struct {
        lvlm_error err;
        char after[8];
    } guarded = { .after = "after" };
    char name[2 * LVLM_ERROR_BYTES];
    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    (void)lvlm_fail(&guarded.err, LVLM_EFORMAT, "tensor '%s'", name);
    assert_int_equal(strlen(guarded.err.text), LVLM_ERROR_BYTES - 1);
    lvlm_prefix(&guarded.err, "model: ");
    assert_int_equal(strlen(guarded.err.text), LVLM_ERROR_BYTES - 1);
    assert_memory_equal(guarded.err.text, "model: tensor 'nn", 17);
    lvlm_prefix(&guarded.err, "%s", name);
    assert_int_equal(strlen(guarded.err.text), LVLM_ERROR_BYTES - 1);
    errno = ENOENT;
    (void)lvlm_fail_errno(&guarded.err, "%s", name);
    assert_int_equal(strlen(guarded.err.text), LVLM_ERROR_BYTES - 1);
    assert_string_equal(guarded.after, "after");
}

static int try_it(int rc)
{
    TRY(rc);
    return 7;
}

static int refuse_odd(int n, lvlm_error *err)
{
    FAIL_IF(n % 2 != 0, err, LVLM_EFORMAT, "%d is odd", n);
    return 0;
}

static void try_returns_the_code_of_an_error(void **state)
{
    lvlm_error err = { .text = "" };
    (void)state;
    assert_int_equal(try_it(LVLM_EUSAGE), LVLM_EUSAGE);
    assert_int_equal(try_it(0), 7);
    assert_int_equal(refuse_odd(2, &err), 0);
    assert_string_equal(err.text, "");
    assert_int_equal(refuse_odd(3, &err), LVLM_EFORMAT);
    assert_string_equal(err.text, "3 is odd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_gain_a_prefix_of_context),
        cmocka_unit_test(errors_include_the_systems_message),
        cmocka_unit_test(errors_are_cut_at_the_end_and_never_overrun),
        cmocka_unit_test(try_returns_the_code_of_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
