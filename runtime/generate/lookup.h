/* lookup.h - prompt lookup: proposes what follows by what followed before.
 *
 *   ... the red car stopped ... the red -> car stopped ...
 *        ---------------------- a text whose last tokens stood there once
 *
 * A proposal costs nothing to make; a session verifies several in one pass. */
#ifndef LVLM_RUNTIME_GENERATE_LOOKUP_H
#define LVLM_RUNTIME_GENERATE_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

/* Write up to `most` tokens that may follow the n tokens of a text: those after the
 * last earlier occurrence of its longest known ending, of two tokens or more. Returns
 * how many; a text that repeats itself is continued beyond its end. proposed (most) */
size_t lvlm_lookup(int64_t *proposed, size_t most, const int64_t *tokens, size_t n);

LVLM_END_DECLS

#endif
