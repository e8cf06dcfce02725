/* alteration.h - what kind of change makes one tensor of another, in one pass.
 *
 *   every value goes into a signature of its row and of its column, and the difference
 *   into a small matrix that keeps its rank
 *
 *   equal rows in another order     permuted; likewise columns
 *   rows of one as columns of other transposed
 *   b = a rounded to b's type       rounded
 *   b = c a, b = a + c              scaled, shifted
 *   few directions                  of a rank above what rounding explains
 *
 * Memory: 16 bytes a row and column, and at most 2 MiB. Distinct objects may be used
 * from distinct threads. */
#ifndef LVLM_VERIFY_COMPARE_ALTERATION_H
#define LVLM_VERIFY_COMPARE_ALTERATION_H

#include "verify/metrics.h"
#include "verify/values.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_altered_kind {
    LVLM_ALTERED_OTHER, /* none of these */
    LVLM_ALTERED_ROUNDED,
    LVLM_ALTERED_ROWS,
    LVLM_ALTERED_COLUMNS,
    LVLM_ALTERED_TRANSPOSED,
    LVLM_ALTERED_SCALED,
    LVLM_ALTERED_SHIFTED,
    LVLM_ALTERED_LOW_RANK, /* at most half of what the shape allows */
} lvlm_altered_kind;

typedef struct lvlm_alteration {
    lvlm_altered_kind kind;
    double by;      /* SCALED, SHIFTED: b = by a, b = a + by */
    uint64_t moved; /* ROWS, COLUMNS: how many are elsewhere */
    size_t rank;    /* LOW_RANK: of b - a, above the rounding of the coarser type */
} lvlm_alteration;

typedef struct lvlm_altering lvlm_altering;

/* Begin a pair with equal numbers of values, whose distance is known. Free with
 * lvlm_altering_free. NULL: out of memory. */
lvlm_altering *lvlm_altering_begin(const lvlm_values *a, const lvlm_values *b,
                                   const lvlm_distance *distance);
/* Values [first, first + n) of both, as doubles; in order. */
void lvlm_altering_add(lvlm_altering *altering, const double *a, const double *b,
                       uint64_t first, size_t n);
/* Decide, from the sums over all pairs too. */
lvlm_alteration lvlm_altering_end(lvlm_altering *altering,
                                  const lvlm_distance *distance);
void lvlm_altering_free(lvlm_altering *altering);

/* A number that is the same for equal values in the same order, from the shape too; of
 * two different tensors it is the same once in 2^64. */
void lvlm_altering_signatures(uint64_t *a, uint64_t *b, const lvlm_altering *altering);

LVLM_END_DECLS

#endif
