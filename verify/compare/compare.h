/* compare.h - compares two checkpoints of any kind tensor by tensor, by native names:
 * how far each is from the other, and what kind of change makes one of the other. */
#ifndef LVLM_VERIFY_COMPARE_COMPARE_H
#define LVLM_VERIFY_COMPARE_COMPARE_H

#include "formats/base/arena.h"
#include "verify/compare/alteration.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_sameness {
    LVLM_SAME_BITS,   /* the same type and the same bytes */
    LVLM_SAME_VALUES, /* another type, every value equal */
    LVLM_DIFFERS,
    LVLM_ONLY_A, /* the other has neither the tensor nor an equal tie */
    LVLM_ONLY_B,
    LVLM_OTHER_SHAPE,
    LVLM_WRONG_SHAPE, /* one has another shape than its configuration says */
    LVLM_IN_NEITHER,  /* neither model has it, though both should */
} lvlm_sameness;

typedef struct lvlm_comparison {
    const char *name;     /* native; of two bare files the stored name */
    const lvlm_tensor *a; /* NULL: a has none */
    const lvlm_tensor *b;
    const lvlm_shape
        *a_expected; /* WRONG_SHAPE: what a should have; NULL: a is right */
    const lvlm_shape *b_expected;
    lvlm_sameness sameness;
    lvlm_distance distance; /* where both have as many values; b is the reference */
    lvlm_alteration change; /* DIFFERS */
    bool renamed;           /* the tensors have different names */
    bool reshaped;          /* the same values in another shape */
    bool retied;            /* one stores a head of its own, the other ties it */
    uint64_t n_rows; /* OTHER_SHAPE: the first rows of both are the same bits, up to
                               the end of one of them: padding; else 0 */
} lvlm_comparison;

/* What `a` calls `a_name` is, bit for bit, what `b` calls `b_name`; both as
 * lvlm_comparison.name. */
typedef struct lvlm_move {
    const char *a_name, *b_name;
} lvlm_move;

typedef struct lvlm_compare_result {
    size_t n;         /* tensors compared */
    size_t n_same;    /* SAME_BITS or SAME_VALUES */
    size_t n_missing; /* IN_NEITHER */
    size_t n_differ;  /* everything else */
    /* contents that differ at their place and that the other has at another one */
    lvlm_move *moves;
    size_t n_moves;
    lvlm_arena arena; /* owned; not for callers */
} lvlm_compare_result;

typedef struct lvlm_compare_options {
    /* One comparison, in order of use; borrowed for the call. */
    void (*row)(void *user, const lvlm_comparison *comparison);
    void *user;
    /* bytes of `a` done, and all of them; may be NULL */
    void (*progress)(void *user, uint64_t done, uint64_t total);
    void *progress_user;
} lvlm_compare_options;

/* Compare two models, or two bare files, in memory that depends only on the number of
 * tensors and the longest rows and columns. LVLM_ECHECK if they are of different
 * families, LVLM_EFORMAT if only one is a model. On success free *out with
 * lvlm_compare_free. */
LVLM_MUST_CHECK int lvlm_compare(lvlm_compare_result *out, const lvlm_checkpoint *a,
                                 const lvlm_checkpoint *b,
                                 const lvlm_compare_options *options, lvlm_error *err);
void lvlm_compare_free(lvlm_compare_result *result);

LVLM_END_DECLS

#endif
