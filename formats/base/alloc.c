/* alloc.c - heap allocation with checked sizes. */
#include "formats/base/alloc.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *lvlm_malloc(size_t bytes)
{
    return malloc(bytes > 0 ? bytes : 1);
}

void *lvlm_calloc(size_t count, size_t bytes)
{
    return calloc(count > 0 ? count : 1, bytes > 0 ? bytes : 1);
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
