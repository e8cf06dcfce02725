/* text.h - comparisons of names and other short texts. */
#ifndef LVLM_FORMATS_BASE_TEXT_H
#define LVLM_FORMATS_BASE_TEXT_H

#include <stdbool.h>
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

/* Bytewise comparison for qsort and bsearch over an array of texts. */
static inline int lvlm_by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

LVLM_END_DECLS

#endif
