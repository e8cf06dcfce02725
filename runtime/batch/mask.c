/* mask.c - visible ranges; see mask.h. */
#include "runtime/batch/mask.h"

#include <assert.h>

void lvlm_mask_prefix_lm(size_t *lo, size_t *hi, const int64_t *types, size_t first,
                         size_t end)
{
    /* cum grows exactly at rows of type 1: q sees up to the next of those */
    size_t next = end;
    assert(first <= end);
    for (size_t n = end; n-- > first;) {
        lo[n] = first;
        hi[n] = next;
        if (types[n] != 0) next = n;
    }
}

void lvlm_mask_window(size_t *lo, const int64_t *types, const size_t *cell,
                      size_t window, size_t first, size_t end)
{
    size_t n = first;
    assert(first <= end && window > 0);
    while (types != NULL && n < end && types[n] == 0) n++;
    for (size_t oldest = first; n < end; n++) {
        while (cell[oldest] + window <= cell[n]) oldest++;
        lo[n] = oldest;
    }
}
