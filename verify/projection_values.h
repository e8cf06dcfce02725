/* projection_values.h - what the values of projections show by themselves: a map of
 * zeros, of one value, or with the values of another one carries nothing, though it is
 * there and has its shape. */
#ifndef LVLM_VERIFY_PROJECTION_VALUES_H
#define LVLM_VERIFY_PROJECTION_VALUES_H

#include "verify/projections.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_projection_values {
    const char *look;    /* "zero", "constant", "duplicate"; NULL: nothing is wrong */
    double value;        /* of a constant */
    const char *same_as; /* native name of the earlier one that a duplicate repeats */
} lvlm_projection_values;

/* Read the weights of all projections, in the order of lvlm_projections_next, into a
 * list in `arena`. Those that are missing, tied, the identity, or not readable show
 * nothing. LVLM_ENOMEM. */
LVLM_MUST_CHECK int lvlm_projection_values_read(lvlm_projection_values **out,
                                                const lvlm_manifest *manifest,
                                                lvlm_arena *arena, lvlm_error *err);

/* Does a projection with these values fail a check? One that was made at conversion, to
 * be trained, and a duplicate do not. */
bool lvlm_projection_values_fail(const lvlm_projection_values *values,
                                 const lvlm_projection_state *state);

LVLM_END_DECLS

#endif
