/* alloc_failing.c - implements alloc.h with counting, and failures on demand. */
#include "tests/support/alloc_failing.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"

static atomic_long until_failure = -1;
static atomic_bool for_good, failed;
static atomic_long live;
static atomic_size_t bytes_live, bytes_peak;

void alloc_fail_at(long n)
{
    atomic_store(&for_good, false);
    atomic_store(&failed, false);
    atomic_store(&until_failure, n);
}

void alloc_fail_from(long n)
{
    atomic_store(&for_good, true);
    atomic_store(&failed, false);
    atomic_store(&until_failure, n);
}

long alloc_live(void)
{
    return atomic_load(&live);
}

bool alloc_has_failed(void)
{
    return atomic_load(&failed);
}

static bool fails(void)
{
    const long left = atomic_load(&until_failure);
    if (left < 0) return false;
    if (left > 0 || !atomic_load(&for_good))
        if (atomic_fetch_sub(&until_failure, 1) != 0) return false;
    atomic_store(&failed, true);
    return true;
}

size_t alloc_peak(void)
{
    return atomic_exchange(&bytes_peak, atomic_load(&bytes_live));
}

static void add_bytes(void *block)
{
    const size_t n = malloc_usable_size(block);
    const size_t now = atomic_fetch_add(&bytes_live, n) + n;
    size_t peak = atomic_load(&bytes_peak);
    while (now > peak && !atomic_compare_exchange_weak(&bytes_peak, &peak, now))
        continue;
}

static void *count(void *block)
{
    if (block == NULL) return NULL;
    atomic_fetch_add(&live, 1);
    add_bytes(block);
    return block;
}

void *lvlm_malloc(size_t bytes)
{
    return fails() ? NULL : count(malloc(bytes > 0 ? bytes : 1));
}

void *lvlm_calloc(size_t n, size_t bytes)
{
    return fails() ? NULL : count(calloc(n > 0 ? n : 1, bytes > 0 ? bytes : 1));
}

void *lvlm_realloc(void *old, size_t n, size_t bytes)
{
    if (fails() || (bytes > 0 && n > SIZE_MAX / bytes)) return NULL;
    const size_t was = old != NULL ? malloc_usable_size(old) : 0;
    void *block = realloc(old, n * bytes > 0 ? n * bytes : 1);
    if (old == NULL || block == NULL) return count(block);
    atomic_fetch_sub(&bytes_live, was);
    add_bytes(block);
    return block;
}

void lvlm_free(void *block)
{
    if (block != NULL) {
        atomic_fetch_sub(&live, 1);
        atomic_fetch_sub(&bytes_live, malloc_usable_size(block));
    }
    free(block);
}

char *lvlm_strdup(const char *text)
{
    const size_t n = strlen(text) + 1;
    char *copy = lvlm_malloc(n);
    return copy != NULL ? memcpy(copy, text, n) : NULL;
}
