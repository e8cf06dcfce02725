/* size.h - arithmetic on sizes that come from files. Shapes and offsets are multiplied
 * and added only by these functions; false means overflow. */
#ifndef LVLM_FORMATS_BASE_SIZE_H
#define LVLM_FORMATS_BASE_SIZE_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

static inline bool lvlm_mul_u64(uint64_t *out, uint64_t a, uint64_t b)
{
    if (a != 0 && b > UINT64_MAX / a) return false;
    *out = a * b;
    return true;
}

static inline bool lvlm_add_u64(uint64_t *out, uint64_t a, uint64_t b)
{
    if (b > UINT64_MAX - a) return false;
    *out = a + b;
    return true;
}

/* `n` rounded up to a multiple of `step` (a power of two); n is far below 2^63. */
static inline uint64_t lvlm_round_up(uint64_t n, uint64_t step)
{
    assert(step > 0 && (step & (step - 1)) == 0);
    return (n + step - 1) & ~(step - 1);
}

LVLM_END_DECLS

#endif
