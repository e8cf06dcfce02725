/* test_train_run.c - after which steps a run saves its state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/tune/cli/train_run.h"

static void state_is_saved_every_n_steps_on_request(void **state)
{
    (void)state;
    assert_false(train_save_is_due(4, 5, 1e6));
    assert_true(train_save_is_due(5, 5, 0));
    assert_true(train_save_is_due(10, 5, 0));
}

static void state_is_saved_every_ten_minutes_by_default(void **state)
{
    (void)state;
    assert_false(train_save_is_due(1, 0, 599));
    assert_true(train_save_is_due(1, 0, 600));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_is_saved_every_n_steps_on_request),
        cmocka_unit_test(state_is_saved_every_ten_minutes_by_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
