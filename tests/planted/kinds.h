/* kinds.h - the mistakes that are planted: tables of data.
 *
 * A mistake in weights is an operation on the last native tensor that `where` matches
 * (globs between "|", all of them with `every`); one of settings is a text of
 * plant_set. */
#ifndef LVLM_TESTS_PLANTED_KINDS_H
#define LVLM_TESTS_PLANTED_KINDS_H

#include "tests/planted/mistakes.h"

/* Changes values; `other` are those of a second tensor, or NULL. */
typedef void change_values(plant_values *v, plant_values *other, double by);
/* Changes anything, beginning from a tensor and perhaps a second one. */
typedef void change_plant(plant *p, const lvlm_target *t, const lvlm_target *other,
                          double by);

typedef struct kind {
    const char *name;
    const char *where; /* native globs */
    change_values *values;
    /* the second tensor, which has as many values: a name; one that replaces what
     * follows the number of a block: ".attn.k.weight"; "-": the same of the block
     * before */
    const char *other;
    double by;
    bool every;
    change_plant *whole;  /* instead of `values` */
    const char *settings; /* instead of both */
    /* Globs of the first stage with an error of its own; NULL: the first that one of
     * the changed tensors feeds. */
    const char *stage;
    /* Globs between "|". Of an error that can be undone: the mistakes of verify/cause/
     * that name it; of another: what the weights or the rows show (named.c), if any. Of
     * one that can be undone in some models: both. */
    const char *undo, *shows;
} kind;

extern const kind weight_kinds[], setting_kinds[]; /* end with a name of NULL */

/* Pairs of kind and family that no recording shows, and why. */
typedef struct blind_pair {
    const char *kind, *families; /* the latter between "|"; NULL: all */
    const char *why;
} blind_pair;
extern const blind_pair blind_pairs[]; /* ends with a kind of NULL */

/* ---- plant_values.c: of values --------------------------------------------------- */

change_values change_transpose, change_times, change_add, change_exchange, change_take;
change_values change_negate, change_tanh, change_root_of_width, change_round_bf16;
change_values change_round_f16, change_flip_bit, change_set_one, change_nan;
change_values change_rows_shifted, change_rows_reversed, change_rows_exchanged;
change_values change_row_zero, change_column_zero, change_columns_shifted;
change_values change_to_pairs, change_to_halves, change_heads_reversed;
change_values change_head_lost, change_channels_reversed, change_kernel_transposed;
change_values change_kernel_mirrored, change_frames_exchanged, change_grid_transposed;
change_values change_grid_reversed, change_squares, change_states_apart;
change_values change_tiles_reversed, change_rounded_to_integers;
change_values change_some_rows_zero, change_last_row_zero, change_first_row_zero;

/* ---- wholes.c: of tensors, blocks and files -------------------------------------- */

change_plant whole_exchange, whole_transpose, whole_missing, whole_unknown;
change_plant whole_row_lost, whole_thirds_by_head, whole_thirds_rotated;
change_plant whole_blocks_exchanged, whole_block_copied, whole_first_block_lost;
change_plant whole_last_block_lost, whole_all_bf16, whole_heads_consistent;

/* The tensor that `other` of a kind names, or NULL. */
const lvlm_target *kind_other(const plant *p, const lvlm_target *t, const char *other);

#endif
