/* stage_error.h - how far a stage is from its reference, measured row by row.
 *
 * A row is what the last axis holds: one token, one patch. The first token of a trained
 * language model can be a thousand times as long as the others, and would dominate a
 * norm over the whole stage. So each row has its own relative error, and
 * their root mean square is the error of the stage:
 *
 *   error = sqrt(mean over rows i of |a_i - b_i|^2 / max(|b_i|, floor)^2)
 *
 * b is the reference; floor, a thousandth of the median length of its rows, keeps the
 * rounding of a row that is almost zero from counting. Of the loss it is 1: a loss is a
 * difference of logits, and near 0 it is what their rounding leaves. */
#ifndef LVLM_VERIFY_REPLAY_STAGE_ERROR_H
#define LVLM_VERIFY_REPLAY_STAGE_ERROR_H

#include "formats/checkpoint/checkpoint.h"
#include "verify/metrics.h"

LVLM_BEGIN_DECLS

enum { LVLM_WORST_ROWS = 5 };

/* Which rows of a stage are compared, and the tokens that they belong to. All NULL:
 * every row. Borrowed. */
typedef struct lvlm_rows {
    const lvlm_tensor *ids; /* I64 or I32 [B, T]: the stage has a row for each token */
    const lvlm_tensor
        *mask; /* the same: rows where it is 0 are padding, not compared */
    const lvlm_tensor *kept; /* I64 [n]: the reference has these rows of the stage, in
                                this order */
    double floor;            /* the least length that an error is relative to */
} lvlm_rows;

/* The input `name` after `prefix` if it can be `ids` or `mask`, else NULL. */
const lvlm_tensor *lvlm_rows_input(const lvlm_checkpoint *inputs, const char *prefix,
                                   const char *name);

/* The rows of stage `name`, which is of that shape where `kept` is NULL: `ids` and
 * `mask` (either may be NULL) count for stages of the text. */
lvlm_rows lvlm_rows_of(const char *name, const lvlm_shape *shape,
                       const lvlm_tensor *ids, const lvlm_tensor *mask,
                       const lvlm_tensor *kept);

/* Row `i` of the reference: its place in the stage, whether it is compared, and the
 * input id there, or -1. */
size_t lvlm_row_place(const lvlm_rows *rows, size_t i);
bool lvlm_row_counts(const lvlm_rows *rows, size_t i);
int64_t lvlm_row_token(const lvlm_rows *rows, size_t i);

/* One row among those that differ most. */
typedef struct lvlm_worst_row {
    size_t place; /* in the stage, all axes but the last in one */
    double error; /* relative L2 */
    int64_t token;
} lvlm_worst_row;

typedef struct lvlm_stage_error {
    lvlm_distance distance; /* of all values that are compared, together */
    double error;           /* as above; infinite if a value is not finite, or if no
                               row is compared, which proves nothing */
    uint64_t n_rows;        /* that were compared */
    uint64_t n_constant;    /* of those: rows of one value, which are wider than that */
    uint64_t n_same;        /* of those: rows equal to the first of them */
    lvlm_worst_row worst[LVLM_WORST_ROWS];
    size_t n_worst;
    /* of logits */
    double max_kl;   /* largest divergence of a row, in nats */
    uint64_t n_top1; /* rows in which both prefer the same token */
} lvlm_stage_error;

/* Do the reference's rows tell nothing: is each one value repeated, or are all of
 * several the same? A model without the weights before it would agree. */
bool lvlm_stage_is_blind(const lvlm_stage_error *found);

/* Can `got`, a stage, be compared with `want`, which has its rows rows->kept? */
bool lvlm_stages_fit(const lvlm_shape *got, const lvlm_shape *want,
                     const lvlm_rows *rows);

/* Compare a stage with its reference (lvlm_stages_fit). With `logits` the last two
 * figures are computed too. LVLM_ENOMEM. */
LVLM_MUST_CHECK int lvlm_stage_compare(lvlm_stage_error *out, const lvlm_tensor *got,
                                       const lvlm_tensor *want, const lvlm_rows *rows,
                                       bool logits, lvlm_error *err);

LVLM_END_DECLS

#endif
