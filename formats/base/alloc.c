/* alloc.c - heap allocation with checked sizes. */
#include "formats/base/alloc.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    LARGE = 4 << 20,
    ARRAY = 4096, /* blocks of this size and more begin at a cache line, */
    LINE = 64,    /* so that no vector in them lies on two */
};

/* Ask for pages of 2 MB for a large block, where the system has them: a first pass of a
 * small model spends a fifth of its time on faults of small ones. */
static void *with_large_pages(void *block, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    if (block == NULL || bytes < LARGE) return block;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t skipped = (page - (uintptr_t)block % page) % page;
    (void)madvise((char *)block + skipped, (bytes - skipped) / page * page,
                  MADV_HUGEPAGE);
#else
    (void)bytes;
#endif
    return block;
}

void *lvlm_malloc(size_t bytes)
{
    if (bytes > SIZE_MAX - LINE) return NULL;
    if (bytes < ARRAY) return malloc(bytes > 0 ? bytes : 1);
    return with_large_pages(aligned_alloc(LINE, (bytes + LINE - 1) / LINE * LINE),
                            bytes);
}

void *lvlm_calloc(size_t count, size_t bytes)
{
    void *const block = calloc(count > 0 ? count : 1, bytes > 0 ? bytes : 1);
    return with_large_pages(block, count * bytes);
}

void *lvlm_realloc(void *old, size_t count, size_t bytes)
{
    if (bytes > 0 && count > SIZE_MAX / bytes) return NULL;
    return realloc(old, count * bytes > 0 ? count * bytes : 1);
}

void lvlm_free(void *block)
{
    free(block);
}

char *lvlm_strdup(const char *text)
{
    assert(text != NULL);
    const size_t n = strlen(text) + 1;
    char *copy = lvlm_malloc(n);
    if (copy != NULL) memcpy(copy, text, n);
    return copy;
}
