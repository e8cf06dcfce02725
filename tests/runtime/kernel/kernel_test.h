/* kernel_test.h - units for tests: those of the build, and plain C. */
#ifndef LVLM_TESTS_RUNTIME_KERNEL_KERNEL_TEST_H
#define LVLM_TESTS_RUNTIME_KERNEL_KERNEL_TEST_H

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include <string.h>

#include "formats/container/numeric.h"
#include "runtime/kernel/multiply.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- tiles in plain C ------------------------------------------------------------ */

#include "runtime/kernel/amx_block.h"

static _Thread_local bool has_tiles;

static void take_tiles(void)
{
    assert_false(has_tiles);
    has_tiles = true;
}

static void give_tiles_back(void)
{
    assert_true(has_tiles);
    has_tiles = false;
}

static void multiply_tiles(float *sums, const lvlm_block *block)
{
    assert_true(has_tiles);
    amx_multiply(sums, block);
}

static void plain_turn(float *to, const float *from, size_t line)
{
    lvlm_plain_terms.turn(to, from, line);
}

static void plain_pour(float *to, size_t ld, const float *from, size_t line,
                       float scale, const float *bias)
{
    lvlm_plain_terms.pour(to, ld, from, line, scale, bias);
}

static const lvlm_kernel tiles_in_c = {
    multiply_tiles, AMX_ROWS,   AMX_PANELS,      plain_turn,
    plain_pour,     take_tiles, give_tiles_back,
};

/* ---- units ----------------------------------------------------------------------- */

static bool here(void)
{
    return true;
}

/* Six products at most: all by terms; none: all by floats. */
static const lvlm_unit plain_by_terms = { "plain terms", &lvlm_plain_terms,
                                          &lvlm_plain_floats, 6, here };
static const lvlm_unit plain_by_floats = { "plain floats", &lvlm_plain_terms,
                                           &lvlm_plain_floats, 0, here };
static const lvlm_unit tiles_by_terms = { "tiles in C", &tiles_in_c, &lvlm_plain_floats,
                                          6, here };

/* Call `check` with each unit that has kernels and is in this processor, and with those
 * above; tell those that are left out. */
static void with_units(void (*check)(const lvlm_unit *unit))
{
    check(&plain_by_terms);
    check(&plain_by_floats);
    check(&tiles_by_terms);
    for (size_t i = 0; lvlm_units[i] != NULL; i++) {
        const lvlm_unit *const unit = lvlm_units[i];
        if (unit->terms == NULL) continue;
        if (unit->is_here())
            check(unit);
        else
            print_message("skipped: %s, which this processor does not have\n",
                          unit->name);
    }
}

#endif
