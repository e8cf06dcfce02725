/* strip.c - Unicode white space; see strip.h. */
#include "runtime/prepare/prompt/strip.h"

#include <string.h>

/* The white space beyond ASCII. */
static const char *const wide[] = {
    "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
    "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
    "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
    "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80",
};

/* The length of the white space at the start, or at the end, of [text, text + n). */
static size_t space_length(const char *text, size_t n, int at_end)
{
    if (n == 0) return 0;
    const char c = at_end ? text[n - 1] : text[0];
    if (c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= '\x1f')) return 1;
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++) {
        const size_t length = strlen(wide[i]);
        if (length <= n &&
            memcmp(at_end ? text + n - length : text, wide[i], length) == 0)
            return length;
    }
    return 0;
}

size_t lvlm_space_at_start(const char *text, size_t n)
{
    size_t at = 0;
    for (size_t step; (step = space_length(text + at, n - at, 0)) > 0;) at += step;
    return at;
}

size_t lvlm_space_at_end(const char *text, size_t n)
{
    size_t left = n;
    for (size_t step; (step = space_length(text, left, 1)) > 0;) left -= step;
    return n - left;
}

const char *lvlm_strip(const char *text, size_t *n)
{
    const size_t start = lvlm_space_at_start(text, *n);
    *n -= start;
    *n -= lvlm_space_at_end(text + start, *n);
    return text + start;
}
