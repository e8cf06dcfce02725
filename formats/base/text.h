/* text.h - comparisons of names and other short texts, and lists sorted by name. */
#ifndef LVLM_FORMATS_BASE_TEXT_H
#define LVLM_FORMATS_BASE_TEXT_H

#include <stdbool.h>
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

LVLM_END_DECLS

#endif
