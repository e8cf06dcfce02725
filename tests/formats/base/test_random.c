/* test_random.c - numbers of a stream have fixed values and are inside (0, 1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "formats/base/random.h"

/* The stream whose number 0 has these bits; SplitMix64 is a bijection. */
static uint64_t stream_of(uint64_t bits)
{
    uint64_t x = bits ^ bits >> 31 ^ bits >> 62;
    x *= 0x319642b2d24d8ec3u;
    x = x ^ x >> 27 ^ x >> 54;
    x *= 0x96de1b173f119089u;
    x = x ^ x >> 30 ^ x >> 60;
    return x - UINT64_C(0x9e3779b97f4a7c15);
}

static void uniform_numbers_are_between_0_and_1(void **state)
{
    static const struct {
        uint64_t bits;
        double value;
    } cases[] = {
        { 0, 0x1p-54 },
        { UINT64_C(1) << 63, 0.5 },
        { UINT64_MAX, 1 - 0x1p-53 },             /* it would round to 1 */
        { UINT64_MAX - (1 << 11), 1 - 0x1p-52 }, /* the one before */
        { UINT64_C(0x0123456789abcdef), 0x1.23456789abccp-8 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint64_t stream = stream_of(cases[i].bits);
        assert_true(lvlm_random_scramble(stream) == cases[i].bits);
        const double u = lvlm_random_uniform(stream, 0);
        if (u != cases[i].value) fail_msg("row %zu: %a", i, u);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_numbers_are_between_0_and_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
