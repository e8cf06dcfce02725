/* compare_sum.h - a comparison summed up: how far each part and each layer changed, and
 * what the changes together look like. */
#ifndef LVLM_VERIFY_COMPARE_COMPARE_SUM_H
#define LVLM_VERIFY_COMPARE_COMPARE_SUM_H

#include "formats/base/strbuf.h"
#include "verify/compare/compare.h"

LVLM_BEGIN_DECLS

enum { LVLM_SUM_NAME = 96, LVLM_SUM_WORDS = 16 };

typedef struct lvlm_sum_row {
    char name[LVLM_SUM_NAME]; /* "vision"; "text.blocks.3" */
    size_t n, n_differ;       /* tensors; those of only one model differ */
    lvlm_distance distance;   /* of all that both have, equal ones too */
} lvlm_sum_row;

typedef struct lvlm_compare_sum {
    lvlm_sum_row *parts, *layers; /* in order of use */
    size_t n_parts, n_layers;
    size_t n_low, least_rank, most_rank;       /* matrices with a change of low rank */
    char words[LVLM_SUM_WORDS][LVLM_SUM_NAME]; /* the last words of their names */
    size_t n_words;
    size_t n_wide;            /* other tensors that differ */
    char wide[LVLM_SUM_NAME]; /* the first of them */
    size_t parts_room, layers_room;
    lvlm_arena arena;
    bool failed; /* out of memory */
} lvlm_compare_sum;

/* Zero-initialise; free with lvlm_compare_sum_free. */
void lvlm_compare_sum_add(lvlm_compare_sum *sum, const lvlm_comparison *comparison);
void lvlm_compare_sum_free(lvlm_compare_sum *sum);

/* "4 matrices changed by a rank of 16: looks like LoRA r=16 on q, v"; nothing if no
 * change is of low rank. */
void lvlm_compare_sum_sentence(lvlm_strbuf *out, const lvlm_compare_sum *sum);

LVLM_END_DECLS

#endif
