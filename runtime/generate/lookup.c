/* lookup.c - see lookup.h. */
#include "runtime/generate/lookup.h"

/* Tokens of an ending. One alone says little of what follows. */
enum { LEAST = 2, MOST = 4 };

/* How many tokens before `at` are the last ones of the text, up to MOST. */
static size_t match(const int64_t *tokens, size_t n, size_t at)
{
    size_t length = 0;
    while (length < MOST && length < at &&
           tokens[at - 1 - length] == tokens[n - 1 - length])
        length++;
    return length;
}

size_t lvlm_lookup(int64_t *proposed, size_t most, const int64_t *tokens, size_t n)
{
    size_t best = LEAST - 1, from = n;
    for (size_t at = n; at-- > LEAST && best < MOST;) {
        const size_t length = match(tokens, n, at);
        if (length <= best) continue;
        best = length;
        from = at;
    }
    if (from == n) return 0;
    for (size_t i = 0; i < most; i++)
        proposed[i] = from + i < n ? tokens[from + i] : proposed[from + i - n];
    return most;
}
