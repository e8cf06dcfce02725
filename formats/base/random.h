/* random.h - counter-based random numbers, without state: a number depends only on its
 * stream and index, so any thread can compute any part. */
#ifndef LVLM_FORMATS_BASE_RANDOM_H
#define LVLM_FORMATS_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

/* A bijective scramble of 64 bits. */
uint64_t lvlm_random_scramble(uint64_t x);

/* The stream of a seed and a name. */
uint64_t lvlm_random_stream(uint64_t seed, const char *name);

/* Numbers [first, first + n) of a stream.  out (n) */
void lvlm_random_bits(uint64_t *out, uint64_t stream, uint64_t first, size_t n);

/* Number `place` of a stream as a double in (0, 1): never 0, so that its logarithm is
 * finite, and never 1. 53 random bits; doubles of at least 1/2 hold 52 of them. */
double lvlm_random_uniform(uint64_t stream, uint64_t place);

LVLM_END_DECLS

#endif
