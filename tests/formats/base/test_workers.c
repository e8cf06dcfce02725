/* test_workers.c - a list of items shared by threads: each once, the first failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/workers.h"

enum { ITEMS = 200, NONE = ITEMS };

typedef struct counts {
    int seen[ITEMS]; /* one per item */
    size_t bad;
} counts;

static int count(void *user, size_t i, lvlm_error *err)
{
    counts *const c = user;
    c->seen[i]++;
    FAIL_IF(i == c->bad, err, LVLM_ECHECK, "item %zu is bad", i);
    return 0;
}

static void each_processes_every_item_once(void **state)
{
    (void)state;
    for (size_t n_threads = 0; n_threads < 6; n_threads++) {
        counts c = { .bad = NONE };
        assert_int_equal(lvlm_workers_each(n_threads, ITEMS, count, &c, NULL), 0);
        for (size_t i = 0; i < ITEMS; i++) assert_int_equal(c.seen[i], 1);
    }
    assert_int_equal(lvlm_workers_each(4, 0, count, NULL, NULL), 0);
}

static void each_ends_with_the_first_failure(void **state)
{
    (void)state;
    for (size_t n_threads = 1; n_threads < 4; n_threads++) {
        lvlm_error err;
        counts c = { .bad = 7 };
        assert_int_equal(lvlm_workers_each(n_threads, ITEMS, count, &c, &err),
                         LVLM_ECHECK);
        assert_string_equal(err.text, "item 7 is bad");
        if (n_threads > 1) continue;
        for (size_t i = 0; i < ITEMS; i++) assert_int_equal(c.seen[i], i <= 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_processes_every_item_once),
        cmocka_unit_test(each_ends_with_the_first_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
