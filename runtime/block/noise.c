/* noise.c - streams of random numbers for places of a model; see noise.h. */
#include "runtime/block/noise.h"

#include "formats/base/random.h"

dropout noise_at(const noise *n, lvlm_dropout_place place, size_t i,
                 const uint64_t *rows)
{
    assert(place > LVLM_NO_DROPOUT && place < LVLM_N_DROPOUTS);
    if (n == NULL || n->rates[place] == 0) return (dropout){ 0 };
    const uint64_t own = lvlm_random_scramble((uint64_t)place << 32 | (uint64_t)i);
    assert(rows != NULL);
    return (dropout){ .rate = n->rates[place],
                      .stream = lvlm_random_scramble(n->key ^ own),
                      .rows = rows };
}
