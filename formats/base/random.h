/* random.h - random numbers without a state: a number follows from its stream and its
 * place in it, so any part can be made alone, by any thread, again. */
#ifndef LVLM_FORMATS_BASE_RANDOM_H
#define LVLM_FORMATS_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

/* A bijective scramble of 64 bits. */
uint64_t lvlm_random_scramble(uint64_t x);

/* A stream for each seed and name. */
uint64_t lvlm_random_stream(uint64_t seed, const char *name);

/* Numbers [first, first + n) of a stream.  out (n) */
void lvlm_random_bits(uint64_t *out, uint64_t stream, uint64_t first, size_t n);

/* Number `place` of a stream as a double in (0, 1), never 0, so that its logarithm is
 * finite, and never 1. 53 random bits, of which doubles of 1/2 and more hold 52. */
double lvlm_random_uniform(uint64_t stream, uint64_t place);

LVLM_END_DECLS

#endif
