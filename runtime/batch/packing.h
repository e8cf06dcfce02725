/* packing.h - the real tokens of a batch, one row each, without the padding.
 *
 *   [B, T] cells -> N rows, text by text, in order -> what each row is and sees
 *
 * The decoder computes rows only; cell[] says where a row goes in the results. */
#ifndef LVLM_RUNTIME_BATCH_PACKING_H
#define LVLM_RUNTIME_BATCH_PACKING_H

#include "runtime/batch/inputs.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_packing {
    size_t B, T;
    size_t N;           /* real tokens, and padding where prefix rules say so */
    size_t *cell;       /* (N) text * T + column; increasing */
    int64_t *ids;       /* (N) token id; -1: an image row */
    int64_t *image_row; /* (N) which row of the connector it is; -1: a token */
    int64_t *types;     /* (N) */
    size_t axes;        /* of positions: 1, or 3 (time, row, column) */
    int64_t *positions; /* (axes,N) those that the batch brings; else column +
                            first_position on every axis, whatever the padding, until
                            positions.h says otherwise */
    size_t *texts; /* (n_texts+1) the first row of each text, and N; position_ids may
                      cut a row of the batch into several */
    size_t n_texts;
    size_t *lo, *hi;    /* (N) sees packed rows [lo, hi) */
    size_t *window_lo;  /* (N) in place of lo where a window slides; NULL: none */
    int64_t *targets;   /* (N) id that the row predicts or LVLM_IGNORE_LABEL; NULL: no
                            labels */
    size_t *predicting; /* (n_targets) rows that have one; NULL: no labels */
    size_t n_targets;
    lvlm_arena arena;
} lvlm_packing;

/* How versions of the reference tell prefix from suffix where that is not as trained;
 * all false: as trained. */
typedef struct lvlm_prefix_rules {
    bool unlabelled_is_prefix; /* without labels all is prefix */
    bool untyped_is_suffix;    /* without types all is suffix */
    bool padding_is_prefix; /* with types and labels padding counts by its type: it is
                                  computed, and seen */
} lvlm_prefix_rules;

typedef struct lvlm_packing_options {
    size_t axes; /* of positions */
    int64_t first_position;
    bool causal; /* each row sees those before it, whatever its type */
    lvlm_prefix_rules prefix;
    size_t window;           /* 0: none */
    bool window_cuts_prefix; /* it counts for images and prefix too */
} lvlm_packing_options;

/* Pack a batch that lvlm_inputs_read has accepted. Free with lvlm_packing_free, also
 * after a failure: LVLM_ENOMEM, or LVLM_EFORMAT where padding that is prefix follows
 * a suffix, so that what a row sees is not a range. */
LVLM_MUST_CHECK int lvlm_packing_make(lvlm_packing *out, const lvlm_inputs *inputs,
                                      const lvlm_packing_options *options,
                                      lvlm_error *err);
void lvlm_packing_free(lvlm_packing *packing);

/* Rows whose position, on any axis, is `most` or more. */
size_t lvlm_packing_beyond(const lvlm_packing *packing, int64_t most);

LVLM_END_DECLS

#endif
