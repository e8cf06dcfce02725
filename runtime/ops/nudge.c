/* nudge.c - changes the last bit of values; see nudge.h. */
#include "runtime/ops/nudge.h"

#include "formats/base/random.h"

void nudge_forward(real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += (lvlm_random_scramble(i) & 1) != 0 ? x[i] * REAL_EPSILON
                                                   : -x[i] * REAL_EPSILON;
}
