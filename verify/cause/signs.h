/* signs.h - which rows and channels carry the error of a stage: what the sources of
 * signs share. Private to verify/cause.
 *
 * D is computed minus recorded. A row or channel is wrong if its part of D is beyond a
 * few bands. */
#ifndef LVLM_VERIFY_CAUSE_SIGNS_H
#define LVLM_VERIFY_CAUSE_SIGNS_H

#include "verify/cause/trial.h"

LVLM_BEGIN_DECLS

typedef struct signs {
    cause_session *s;
    bool *row, *column; /* (R), (C) wrong */
    size_t n_rows, n_columns, n_bad;
    double *mean;           /* (C) of D over the wrong rows */
    double length2, error2; /* sums of squares of the recording, and of D */
} signs;

/* Add a sentence on the error. */
#define SIGNS_SAY(g, err, ...) CAUSE_SAY_SIGN((g)->s, err, __VA_ARGS__)

/* sign_rows.c: which rows are wrong. Sets s->only_relations. */
LVLM_MUST_CHECK int signs_say_rows(signs *g, lvlm_error *err);

LVLM_END_DECLS

#endif
