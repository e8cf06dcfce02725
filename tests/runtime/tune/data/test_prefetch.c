/* test_prefetch.c - items are in order, failures too, and every item is freed. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "runtime/tune/data/prefetch.h"

/* How items are made. */
typedef struct maker {
    size_t fails_at; /* SIZE_MAX: never */
    long delay_ns;
    size_t n_calls;
} maker;

static size_t n_alive; /* items that are not freed */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void count_alive(int step)
{
    pthread_mutex_lock(&lock);
    n_alive += (size_t)step;
    pthread_mutex_unlock(&lock);
}

static int make(void **item, void *user, size_t i, lvlm_error *err)
{
    maker *const m = user;
    const struct timespec delay = { 0, m->delay_ns };
    m->n_calls++;
    if (m->delay_ns > 0) nanosleep(&delay, NULL);
    FAIL_IF(i == m->fails_at, err, LVLM_EFORMAT, "item %zu is bad", i);
    size_t *const value = malloc(sizeof *value);
    assert_non_null(value);
    *value = i * i;
    *item = value;
    count_alive(1);
    return 0;
}

static void drop(void *item)
{
    free(item);
    count_alive(-1);
}

static lvlm_prefetch *start(maker *m, size_t first, size_t end, size_t depth)
{
    const lvlm_prefetch_work work = { make, drop, m, first, end, depth };
    lvlm_prefetch *p = NULL;
    assert_int_equal(lvlm_prefetch_start(&p, &work, NULL), 0);
    return p;
}

static size_t take(lvlm_prefetch *p)
{
    void *item = NULL;
    assert_int_equal(lvlm_prefetch_take(&item, p, NULL), 0);
    const size_t value = *(size_t *)item;
    drop(item);
    return value;
}

static void prefetch_returns_items_in_order(void **state)
{
    (void)state;
    for (size_t depth = 0; depth < 5; depth++) {
        maker m = { .fails_at = SIZE_MAX, .delay_ns = depth == 2 ? 200000 : 0 };
        lvlm_prefetch *const p = start(&m, 3, 60, depth);
        for (size_t i = 3; i < 60; i++) assert_int_equal(take(p), i * i);
        lvlm_prefetch_stop(p);
        assert_int_equal(m.n_calls, 57);
        assert_int_equal(n_alive, 0);
    }
}

/* A failure is returned in order, and on every later call; no item is made after it. */
static void prefetch_fails_at_the_item_that_is_bad(void **state)
{
    (void)state;
    for (size_t depth = 0; depth < 5; depth++) {
        maker m = { .fails_at = 7 };
        lvlm_prefetch *const p = start(&m, 0, 60, depth);
        lvlm_error err;
        void *item = &err;
        for (size_t i = 0; i < 7; i++) assert_int_equal(take(p), i * i);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(lvlm_prefetch_take(&item, p, &err), LVLM_EFORMAT);
            assert_string_equal(err.text, "item 7 is bad");
            assert_null(item);
        }
        lvlm_prefetch_stop(p);
        assert_int_equal(m.n_calls, 8);
        assert_int_equal(n_alive, 0);
    }
}

static void prefetch_frees_items_that_were_not_taken(void **state)
{
    (void)state;
    for (size_t depth = 0; depth < 5; depth++) {
        maker m = { .fails_at = SIZE_MAX };
        lvlm_prefetch *const p = start(&m, 0, 60, depth);
        assert_int_equal(take(p), 0);
        lvlm_prefetch_stop(p);
        assert_true(m.n_calls <= depth + 2); /* taken, queued, and one being made */
        assert_int_equal(n_alive, 0);
    }
    lvlm_prefetch_stop(NULL);
}

static void prefetch_of_an_empty_range_creates_nothing(void **state)
{
    maker m = { .fails_at = SIZE_MAX };
    (void)state;
    lvlm_prefetch_stop(start(&m, 4, 4, 2));
    assert_int_equal(m.n_calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefetch_returns_items_in_order),
        cmocka_unit_test(prefetch_fails_at_the_item_that_is_bad),
        cmocka_unit_test(prefetch_frees_items_that_were_not_taken),
        cmocka_unit_test(prefetch_of_an_empty_range_creates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
