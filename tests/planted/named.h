/* named.h - the cause that replay names of a planted error, in a word or two. */
#ifndef LVLM_TESTS_PLANTED_NAMED_H
#define LVLM_TESTS_PLANTED_NAMED_H

#include "tests/planted/kinds.h"
#include "verify/replay/replay.h"

enum { CAUSE = 96 };

typedef struct named {
    /* "`transposed`": the mistakes that were undone; "all zeros": what the weights or
     * the rows show; "-": nothing; "not named": the same of one that can be undone */
    char text[CAUSE];
    size_t n_undone; /* candidates that agree */
    size_t n_tried;
    bool is_wrong; /* the kind has another cause */
} named;

/* The cause of a replay that failed. */
named name_cause(const kind *k, const lvlm_replay *r);
/* The same of an error that replay did not get to see. */
named name_none(void);

#endif
