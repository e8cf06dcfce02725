/* random.c - SplitMix64 (Steele, Lea & Flood 2014) of a counter; see random.h. */
#include "formats/base/random.h"

#include <assert.h>

#include "formats/base/text.h"

uint64_t lvlm_random_scramble(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

uint64_t lvlm_random_stream(uint64_t seed, const char *name)
{
    return lvlm_random_scramble(lvlm_hash_text(name) ^ lvlm_random_scramble(seed));
}

void lvlm_random_bits(uint64_t *out, uint64_t stream, uint64_t first, size_t n)
{
    assert(out != NULL || n == 0);
    for (size_t i = 0; i < n; i++) out[i] = lvlm_random_scramble(stream + first + i);
}

double lvlm_random_uniform(uint64_t stream, uint64_t place)
{
    const uint64_t bits = lvlm_random_scramble(stream + place) >> 11;
    const double u = ((double)bits + 0.5) * 0x1p-53;
    return u < 1 ? u : 1 - 0x1p-53; /* half of the largest rounds up to 1 */
}
