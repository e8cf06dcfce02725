/* text.h - comparisons of names and other short texts, and lists sorted by name. */
#ifndef LVLM_FORMATS_BASE_TEXT_H
#define LVLM_FORMATS_BASE_TEXT_H

#include <assert.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

static inline bool lvlm_starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* At least one byte must precede the suffix. */
static inline bool lvlm_ends_with(const char *text, const char *suffix)
{
    const size_t n = strlen(text), m = strlen(suffix);
    return n > m && strcmp(text + n - m, suffix) == 0;
}

/* Is `text` one of "first|second|..."? NULL is the empty list. */
static inline bool lvlm_is_listed(const char *list, const char *text)
{
    const size_t length = strlen(text);
    for (const char *at = list; at != NULL && *at != '\0';) {
        const size_t n = strcspn(at, "|");
        if (n == length && memcmp(at, text, n) == 0) return true;
        at += n + (at[n] == '|');
    }
    return false;
}

/* Does `text` match one of the patterns of fnmatch, which end with NULL? */
static inline bool lvlm_matches(const char *const *patterns, const char *text)
{
    while (*patterns != NULL && fnmatch(*patterns, text, 0) != 0) patterns++;
    return *patterns != NULL;
}

/* Copy `text` up to the first of the characters `ends`; returns the length of the copy,
 * which fits. */
static inline size_t lvlm_copy_until(char *to, size_t size, const char *text,
                                     const char *ends)
{
    const size_t n = strcspn(text, ends);
    assert(n < size);
    (void)size;
    memcpy(to, text, n);
    to[n] = '\0';
    return n;
}

/* Does `text` match one of the patterns of fnmatch "first|second|...", each shorter
 * than 128 bytes? */
static inline bool lvlm_matches_listed(const char *list, const char *text)
{
    char pattern[128];
    for (const char *at = list; *at != '\0'; at += *at == '|') {
        at += lvlm_copy_until(pattern, sizeof pattern, at, "|");
        if (fnmatch(pattern, text, 0) == 0) return true;
    }
    return false;
}

/* FNV-1a. */
static inline uint64_t lvlm_hash_text(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text != '\0'; text++) hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash;
}

/* Bytewise comparison for qsort over an array of texts, or of structs that begin with
 * their name. */
static inline int lvlm_by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The same over an array of pointers to such structs: an index of names. */
static inline int lvlm_by_name(const void *a, const void *b)
{
    return lvlm_by_text(*(const void *const *)a, *(const void *const *)b);
}

/* The struct called `name` in a sorted index of `n` pointers; NULL if there is none. */
static inline void *lvlm_find_name(const char *name, const void *index, size_t n)
{
    const char *const *const key = &name;
    void *const *found = NULL;
    if (n > 0)
        found = (void *const *)bsearch(&key, index, n, sizeof(void *), lvlm_by_name);
    return found != NULL ? *found : NULL;
}

/* The index of the first of `n` sorted elements of `bytes` bytes that does not precede
 * `key`; n: there is none. `compare` takes the key first, as for bsearch. */
static inline size_t
lvlm_first_not_below(const void *key, const void *array, size_t n, size_t bytes,
                     int (*compare)(const void *key, const void *element))
{
    size_t low = 0, high = n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (compare(key, (const char *)array + middle * bytes) > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

LVLM_END_DECLS

#endif
