/* alloc_failing.h - a heap that fails on demand, linked instead of base/alloc.o. */
#ifndef LVLM_TESTS_SUPPORT_ALLOC_FAILING_H
#define LVLM_TESTS_SUPPORT_ALLOC_FAILING_H

#include <stdbool.h>
#include <stddef.h>

/* Only the n-th allocation from now on fails; -1: none does. Thread-safe, but with
 * several threads it is undefined which allocation is the n-th. */
void alloc_fail_at(long n);
/* The same, and every later one fails too, even during cleanup. */
void alloc_fail_from(long n);
/* Did an allocation fail since the last of these calls? */
bool alloc_has_failed(void);
/* Blocks that were allocated and not freed. */
long alloc_live(void);
/* The peak of allocated bytes since the last call. */
size_t alloc_peak(void);

#endif
