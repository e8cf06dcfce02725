/* ops_test.h - shared by the tests of ops. */
#ifndef LVLM_TESTS_RUNTIME_OPS_OPS_TEST_H
#define LVLM_TESTS_RUNTIME_OPS_OPS_TEST_H

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/ops/ops.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* |got - expected| <= tolerance * max(1, |expected|); prints the values otherwise. */
#define ASSERT_CLOSE(got, expected, tolerance)                                         \
    do {                                                                               \
        const double got_ = (double)(got), expected_ = (double)(expected);             \
        if (!(fabs(got_ - expected_) <= (tolerance)*fmax(1, fabs(expected_))))         \
            fail_msg("%s: got %.17g, expected %.17g", #got, got_, expected_);          \
    } while (0)

/* error <= tolerance. LVLM_TEST_SHOW in the environment prints what was observed. */
#define ASSERT_BELOW(error, tolerance)                                                 \
    do {                                                                               \
        const double error_ = (error);                                                 \
        if (getenv("LVLM_TEST_SHOW") != NULL)                                          \
            print_message("%s: %.2g\n", #error, error_);                               \
        if (!(error_ <= (tolerance))) fail_msg("%s: %.3g", #error, error_);            \
    } while (0)

#define ASSERT_BYTES_EQUAL(a, b, n) assert_memory_equal((a), (b), (n) * sizeof *(a))

#endif
