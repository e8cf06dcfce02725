/* kernel.h - the innermost loops of matrix products in float, and which of them this
 * processor has.
 *
 * A kernel computes a small block of a b^T over a short range of the sum, from operands
 * that pack.h has laid out. There are two forms:
 *
 *   terms    each value is a sum of up to three bf16 numbers (pack.h), and products of
 *            bf16 numbers, which are exact in float, are added in float
 *   floats   each value is a float, or a bf16 number that is widened on the way
 *
 * Everything here is compiled once: products in double are OpenBLAS' own. */
#ifndef LVLM_RUNTIME_KERNEL_KERNEL_H
#define LVLM_RUNTIME_KERNEL_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/error.h"

enum {
    LVLM_STEP = 32,      /* terms of the sum that operands are padded to */
    LVLM_PANEL = 16,     /* columns that lie side by side */
    LVLM_MOST_TERMS = 3, /* of a float: 3 x 8 bits of significand */
    LVLM_MOST_ROWS = 32, /* of a block of any kernel */
};

/* The rows of a block: row r of step s begins at data + s * step + r * row, and its
 * term t is t * term beyond. Values that are floats are `apart` from each other, others
 * side by side. Strides are in bytes. */
typedef struct lvlm_left {
    const char *data;
    size_t row, step, term, apart;
    unsigned n_terms;
    bool is_float; /* form floats: float, else bf16 */
} lvlm_left;

/* The columns, in panels that are `panel` bytes apart. A step of a panel has `step`
 * bytes:
 *   terms    [n_terms][LVLM_STEP / 2][LVLM_PANEL][2] of bf16
 *   floats   [LVLM_STEP][LVLM_PANEL] */
typedef struct lvlm_right {
    const char *data;
    size_t panel, step;
    unsigned n_terms;
} lvlm_right;

/* Bytes of one term of such a step. */
enum { LVLM_TILE = LVLM_STEP * LVLM_PANEL * (int)sizeof(uint16_t) };

typedef struct lvlm_block {
    lvlm_left left;
    lvlm_right right;
    size_t n_values; /* of the sum: the last step may have fewer in form floats, where
                        an odd one is padded if the rows are bf16 */
    size_t n_panels;
    unsigned levels; /* products of term i and term j with i + j < levels count */
    bool adds;       /* to what is in `sums`, once they are summed */
} lvlm_block;

/* For each pair of terms that counts, i of the rows and j of the columns; the smallest
 * products are added first, so that their sums are rounded less. */
#define LVLM_EACH_PAIR(b, i, j)                                                        \
    for (unsigned level_ = (b)->levels; level_-- > 0;)                                 \
        for (unsigned i = 0, j = level_; i <= level_; i++, j--)                        \
            if (i < (b)->left.n_terms && j < (b)->right.n_terms)

static inline size_t lvlm_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t lvlm_steps_of(size_t n_values)
{
    return (n_values + LVLM_STEP - 1) / LVLM_STEP;
}

/* sums (rows, panels * LVLM_PANEL) = or += the block; columns beyond n_panels are not
 * touched. */
typedef void lvlm_multiply(float *sums, const lvlm_block *block);

/* to[c][r] = from[r * line + c], LVLM_PANEL each way. */
typedef void lvlm_turn(float *to, const float *from, size_t line);

/* to[c * ld + r] = scale * from[r * line + c] + bias[r], the same, to memory past the
 * caches: to and ld are multiples of LVLM_PANEL floats; bias (LVLM_PANEL) or NULL.
 * Other threads see it once this one has called the kernel's `end`. */
typedef void lvlm_pour(float *to, size_t ld, const float *from, size_t line,
                       float scale, const float *bias);

typedef struct lvlm_kernel {
    lvlm_multiply *multiply;
    size_t rows, panels; /* of a block, at most */
    lvlm_turn *turn;
    lvlm_pour *pour;
    void (*begin)(void); /* what a thread does before its first block, or NULL */
    void (*end)(void);   /* and after its last; or NULL */
} lvlm_kernel;

/* How a processor multiplies. */
typedef struct lvlm_unit {
    const char *name;
    const lvlm_kernel *terms, *floats; /* NULL: OpenBLAS does it */
    unsigned most_products; /* of terms, for each of the sum; with more, floats are
                               faster */
    bool (*is_here)(void);
} lvlm_unit;

/* The unit that products are computed with: the one that LVLM_KERNEL names in the
 * environment, else the best that there is. Chosen once in a process. */
const lvlm_unit *lvlm_unit_chosen(void);

/* LVLM_EUSAGE: LVLM_KERNEL names a unit that does not exist or is not in this processor
 * or not in this build. */
LVLM_MUST_CHECK int lvlm_unit_check(lvlm_error *err);

/* All that this build has, the best first; NULL ends them. They need not be in this
 * processor. */
extern const lvlm_unit *const lvlm_units[];

/* The kernels. Those of plain_kernel.c are any processor's; the others are compared
 * with them. */
extern const lvlm_kernel lvlm_plain_terms, lvlm_plain_floats;
extern const lvlm_kernel lvlm_avx512_terms, lvlm_avx512_floats, lvlm_amx_terms;
lvlm_turn lvlm_turn_avx512;
lvlm_pour lvlm_pour_avx512;
void lvlm_end_avx512(void);

/* Does the processor have them, and the system permit them? */
bool lvlm_has_avx512_bf16(void);
bool lvlm_has_amx(void);

#endif
