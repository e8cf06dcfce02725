/* torture.h - fails the first, second, third ... allocation of an operation: an error
 * is returned, nothing leaks, no file is left. */
#ifndef LVLM_TESTS_FAULT_TORTURE_H
#define LVLM_TESTS_FAULT_TORTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/base/error.h"
#include "formats/base/infile.h"
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

typedef struct torture_row {
    const char *name;
    operation *run;
} torture_row;

static inline void torture_all(scratch *s, const torture_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        print_message("  %s\n", rows[i].name);
        torture(s, rows[i].run);
    }
}

/* After a success: remove a directory of plain files, without failing allocations. */
static inline void remove_files(scratch *s, const char *name)
{
    const char *dir = scratch_path(s, name);
    char **names = NULL;
    size_t n = 0;
    alloc_fail_at(-1);
    assert_int_equal(lvlm_path_list(&names, &n, dir, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        char path[2 * SCRATCH_PATH];
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        assert_int_equal(unlink(path), 0);
    }
    lvlm_path_list_free(names, n);
    assert_int_equal(rmdir(dir), 0);
}

#endif
