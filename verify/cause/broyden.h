/* broyden.h - solves F(z) = y by Broyden's method, where the slope of F is not known.
 * Private to verify/cause.
 *
 *   r = F(z) - y,  z -= H r,   H from how r changed by the steps before
 *
 * A step that makes r longer is halved. */
#ifndef LVLM_VERIFY_CAUSE_BROYDEN_H
#define LVLM_VERIFY_CAUSE_BROYDEN_H

#include <stdbool.h>

#include "formats/base/arena.h"

LVLM_BEGIN_DECLS

enum { BROYDEN_STEPS = 60 };

typedef struct broyden {
    size_t C;
    double *u, *v;                  /* (BROYDEN_STEPS,C) H = 1 + sum of u v' */
    size_t n;                       /* of them */
    double *residual, *step, *room; /* (C) */
    double length, least;           /* of the residual, and of one that is none */
    size_t halved;                  /* so many times the step was */
    bool started, solved;
} broyden;

/* a'b.  a, b (n) */
double broyden_dot(const double *a, const double *b, size_t n);

/* `z` has C values. The memory is in `arena`. */
LVLM_MUST_CHECK int broyden_make(broyden *b, size_t C, double least, lvlm_arena *arena,
                                 lvlm_error *err);
/* From `r` of this z to the next z, unless it is solved.  z, r (C) */
void broyden_step(broyden *b, double *z, const double *r);

LVLM_END_DECLS

#endif
