/* test_workspace.c - passes use the memory of those before them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/block/workspace.h"

enum { SMALL = 100, LARGE = 1000 };

static double *take(workspace *w, size_t n)
{
    double *x = NULL;
    lvlm_error err;
    if (workspace_array(&x, w, n, 1, "test", &err) < 0) fail_msg("%s", err.text);
    assert_true((uintptr_t)x % 64 == 0);
    memset(x, 1, n * sizeof *x);
    return x;
}

static bool is_in(const workspace_pool *pool, const double *x)
{
    const char *const region = pool->region, *const at = (const char *)x;
    return region != NULL && at > region && at < region + pool->size;
}

/* A tower's memory, which is gone when the text's is taken. */
static void pass(workspace_pool *pool, double *found[3])
{
    workspace whole = { .pool = pool }, tower = { .pool = pool }, text = whole;
    found[0] = take(&whole, SMALL);
    found[1] = take(&tower, LARGE);
    workspace_free(&tower);
    found[2] = take(&text, LARGE);
    workspace_free(&text);
    workspace_free(&whole);
    assert_true(pool->used == 0 && pool->beside == 0);
}

static void a_second_pass_uses_the_memory_of_the_first(void **state)
{
    workspace_pool pool = { .region = NULL };
    double *first[3], *second[3], *third[3];
    (void)state;
    pass(&pool, first);
    assert_null(pool.region);
    pass(&pool, second);
    const uint64_t size = pool.size;
    assert_true(size >= (SMALL + LARGE) * sizeof(double));
    assert_true(size < (SMALL + LARGE) * sizeof(double) + 512); /* not both at once */
    for (size_t i = 0; i < 3; i++) assert_true(is_in(&pool, second[i]));
    assert_ptr_equal(second[1], second[2]);
    pass(&pool, third);
    assert_memory_equal(second, third, sizeof second);
    assert_int_equal(pool.size, size);
    workspace_pool_free(&pool);
}

/* What is left in the middle is used again when all above it is left: until then it
 * takes room, for which the region grows. */
static void allocations_are_left_in_any_order(void **state)
{
    workspace_pool pool = { .region = NULL };
    (void)state;
    for (size_t round = 0; round < 3; round++) {
        workspace a = { .pool = &pool }, b = a, c = a;
        double *const x = take(&a, SMALL), *const y = take(&b, SMALL);
        workspace_free(&a);
        double *const z = take(&c, SMALL);
        assert_true(x != y && y != z);
        assert_true(is_in(&pool, x) == (round > 0) && is_in(&pool, y) == (round > 0));
        assert_int_equal(is_in(&pool, z), round == 2);
        workspace_free(&b);
        workspace_free(&c);
        assert_true(pool.used == 0 && pool.beside == 0 && pool.top == NULL);
    }
    workspace_pool_free(&pool);
}

/* A pass that needs more than those before it takes the rest elsewhere, once. */
static void a_larger_pass_makes_the_region_larger(void **state)
{
    workspace_pool pool = { .region = NULL };
    (void)state;
    for (size_t round = 0; round < 4; round++) {
        const size_t n = round < 2 ? SMALL : LARGE;
        workspace w = { .pool = &pool };
        double *const x = take(&w, n);
        assert_int_equal(is_in(&pool, x), round % 2);
        workspace_free(&w);
    }
    assert_true(pool.size >= LARGE * sizeof(double));
    workspace_pool_free(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_pass_uses_the_memory_of_the_first),
        cmocka_unit_test(allocations_are_left_in_any_order),
        cmocka_unit_test(a_larger_pass_makes_the_region_larger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
