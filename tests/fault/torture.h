/* torture.h - fails the first, second, third ... allocation of an operation: an error
 * is returned, never a result, nothing leaks, no file is left. */
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

typedef struct torture_row {
    const char *name;
    operation *run;
    bool tolerates; /* does without some memory, and checks that its result is right */
    bool is_long;   /* fewer moments are tried */
} torture_row;

/* One run with allocation n failing, or all from n; true: none had to fail. */
static inline bool run_short_of_memory(scratch *s, const torture_row *row, long n,
                                       bool for_good)
{
    const size_t files = scratch_count(s, "");
    const long before = alloc_live();
    lvlm_error err = { .text = "" };
    if (for_good)
        alloc_fail_from(n);
    else
        alloc_fail_at(n);
    const int rc = row->run(s, &err);
    const bool failed = alloc_has_failed();
    alloc_fail_at(-1);
    if (rc == 0 && failed && !row->tolerates)
        fail_msg("failing allocation %ld is not reported", n);
    if (alloc_live() != before)
        fail_msg("failing allocation %ld leaves %ld blocks", n, alloc_live() - before);
    if (rc != 0 && (rc != LVLM_ENOMEM || err.text[0] == '\0'))
        fail_msg("failing allocation %ld gives %d: %s", n, rc, err.text);
    if (rc != 0 && scratch_count(s, "") != files)
        fail_msg("failing allocation %ld leaves a file: %s", n, err.text);
    return rc == 0 && !failed;
}

/* Fail the n-th allocation for n = 0, 1, 2, ... until there are no more. The steps grow
 * for large n, where every place has been reached many times. */
static inline void torture(scratch *s, const torture_row *row)
{
    const long pace = row->is_long ? 25 : 150;
    for (int for_good = 0; for_good < 2; for_good++)
        for (long n = 0; !run_short_of_memory(s, row, n, for_good); n += 1 + n / pace)
            continue;
}

static inline void torture_all(scratch *s, const torture_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        print_message("  %s\n", rows[i].name);
        torture(s, &rows[i]);
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
