/* test_arena.c - many small blocks, freed at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/arena.h"

static void arena_gives_zeroed_aligned_memory(void **state)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    (void)state;
    for (size_t n = 1; n < 100000; n = n * 3 + 1) {
        const unsigned char *at = lvlm_arena_alloc(&arena, n, 3);
        assert_non_null(at);
        assert_int_equal((uintptr_t)at % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < 3 * n; i++) assert_int_equal(at[i], 0);
    }
    assert_null(lvlm_arena_alloc(&arena, SIZE_MAX / 2, 3));
    assert_string_equal(lvlm_arena_printf(&arena, "%s-%d", "x", 7), "x-7");
    assert_string_equal(lvlm_arena_strndup(&arena, "abcdef", 3), "abc");
    lvlm_arena_free(&arena);
}

static void arena_pieces_stay_where_they_are(void **state)
{
    enum { N = 2000 };
    static const char *piece[N];
    lvlm_arena arena = LVLM_ARENA_INIT;
    (void)state;
    for (int i = 0; i < N; i++) {
        piece[i] = lvlm_arena_printf(&arena, "piece %d of many", i);
        assert_non_null(piece[i]);
    }
    for (int i = 0; i < N; i++) {
        char expected[32];
        (void)snprintf(expected, sizeof expected, "piece %d of many", i);
        assert_string_equal(piece[i], expected);
    }
    lvlm_arena_free(&arena);
}

static void arena_is_empty_after_free(void **state)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    (void)state;
    lvlm_arena_free(&arena);
    assert_non_null(lvlm_arena_alloc(&arena, 0, 8)); /* nothing is not NULL */
    lvlm_arena_free(&arena);
    assert_null(arena.head);
    lvlm_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_gives_zeroed_aligned_memory),
        cmocka_unit_test(arena_pieces_stay_where_they_are),
        cmocka_unit_test(arena_is_empty_after_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
