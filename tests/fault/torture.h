/* torture.h - fails the first, second, third ... allocation of an operation: an error
 * is returned, nothing leaks, no file is left. */
#ifndef LVLM_TESTS_FAULT_TORTURE_H
#define LVLM_TESTS_FAULT_TORTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "formats/base/error.h"
#include "tests/support/alloc_failing.h"
#include "tests/support/scratch.h"

/* An operation returns 0 or a code; `s` holds its files. */
typedef int operation(scratch *s, lvlm_error *err);

/* One run with allocation n failing, or all from n; returns its code. */
static inline int run_short_of_memory(scratch *s, operation *op, long n, bool for_good)
{
    const size_t files = scratch_count(s, "");
    const long before = alloc_live();
    lvlm_error err = { .text = "" };
    if (for_good)
        alloc_fail_from(n);
    else
        alloc_fail_at(n);
    const int rc = op(s, &err);
    alloc_fail_at(-1);
    if (alloc_live() != before)
        fail_msg("failing allocation %ld leaves %ld blocks", n, alloc_live() - before);
    if (rc != 0 && (rc != LVLM_ENOMEM || err.text[0] == '\0'))
        fail_msg("failing allocation %ld gives %d: %s", n, rc, err.text);
    if (rc != 0 && scratch_count(s, "") != files)
        fail_msg("failing allocation %ld leaves a file: %s", n, err.text);
    return rc;
}

/* Fail the n-th allocation for n = 0, 1, 2, ... until the operation succeeds. The steps
 * grow for large n, where every place has been reached many times. */
static inline void torture(scratch *s, operation *op)
{
    for (int for_good = 0; for_good < 2; for_good++)
        for (long n = 0; run_short_of_memory(s, op, n, for_good) != 0; n += 1 + n / 150)
            continue;
}

#endif
