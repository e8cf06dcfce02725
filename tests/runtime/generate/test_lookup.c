/* test_lookup.c - what prompt lookup proposes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/generate/lookup.h"

enum { MOST = 7 };

static void expect(const int64_t *text, size_t n, size_t most, const int64_t *wanted,
                   size_t n_wanted)
{
    int64_t proposed[MOST];
    assert_int_equal(lvlm_lookup(proposed, most, text, n), n_wanted);
    if (n_wanted > 0) assert_memory_equal(proposed, wanted, n_wanted * sizeof *wanted);
}

static void what_followed_the_same_tokens_is_proposed(void **state)
{
    (void)state;
    const int64_t text[] = { 5, 1, 2, 3, 4, 9, 1, 2 }, wanted[] = { 3, 4, 9 };
    expect(text, 8, 3, wanted, 3);
}

static void longer_endings_count_more_than_later_ones(void **state)
{
    (void)state;
    const int64_t text[] = { 7, 1, 2, 30, 8, 1, 2, 40, 7, 1, 2 }, first[] = { 30 };
    expect(text, 11, 1, first, 1);
    const int64_t same[] = { 6, 1, 2, 30, 8, 1, 2, 40, 7, 1, 2 }, last[] = { 40 };
    expect(same, 11, 1, last, 1);
}

static void a_repetition_continues(void **state)
{
    (void)state;
    const int64_t text[] = { 8, 1, 2, 3, 1, 2, 3 };
    const int64_t wanted[] = { 1, 2, 3, 1, 2, 3, 1 };
    expect(text, 7, 7, wanted, 7);
    const int64_t one[] = { 4, 4, 4 }, more[] = { 4, 4, 4, 4 };
    expect(one, 3, 4, more, 4);
}

static void one_known_token_is_too_little(void **state)
{
    (void)state;
    const int64_t text[] = { 1, 2, 3, 4, 5, 2 };
    expect(text, 6, 7, NULL, 0);
    for (size_t n = 0; n <= 2; n++) expect(text, n, 7, NULL, 0);
    const int64_t twice[] = { 1, 2, 1, 2 };
    expect(twice, 4, 0, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_followed_the_same_tokens_is_proposed),
        cmocka_unit_test(longer_endings_count_more_than_later_ones),
        cmocka_unit_test(a_repetition_continues),
        cmocka_unit_test(one_known_token_is_too_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
