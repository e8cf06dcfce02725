/* outcome.h - a mistake planted in a fixture, converted and replayed. All functions
 * fail the test on an error. */
#ifndef LVLM_TESTS_PLANTED_OUTCOME_H
#define LVLM_TESTS_PLANTED_OUTCOME_H

#include "tests/planted/kinds.h"
#include "tests/planted/named.h"
#include "tests/support/fixtures.h"
#include "tests/support/scratch.h"

/* From the least that can be said of a mistake to the most. */
typedef enum caught_by {
    NOT_PLANTED,       /* the fixture has nothing of the kind */
    NOT_READ,          /* the settings come down to the same */
    CAUGHT_BY_NOTHING, /* every stage and gradient agrees */
    CAUGHT_BY_GRADS,   /* replay --grads alone */
    CAUGHT_BY_REFUSAL, /* replay cannot run the inputs */
    CAUGHT_BY_HF2NATIVE,
    CAUGHT_BY_REPLAY,
} caught_by;

enum { STAGE = 64 };

typedef struct outcome {
    caught_by by;
    const fixture *in;
    char stage[STAGE];    /* the first with an error of its own; a gradient */
    char size[16];        /* of that error: "1e-3" */
    char expected[STAGE]; /* globs of the stage that it must be */
    bool is_expected;
    named cause;
} outcome;

outcome plant_and_replay(const kind *k, const fixture *f, scratch *s);

#endif
