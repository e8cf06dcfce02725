/* pack.h - operands as kernels want them.
 *
 * A float is a sum of bf16 numbers,
 *
 *   x = x1 + x2 + x3,   x1 = bf16(x),   x2 = bf16(x - x1),   x3 = x - x1 - x2
 *
 * exactly, with 3 x 8 bits of significand, unless x3 is below the least normal number.
 * f16 is a sum of two, bf16 of one. With L levels an operand has at most L terms, and
 * products of term i and term j with i + j <= L + 1, counted from 1, are computed: 1, 3
 * or 6 of them, fewer where an operand has fewer terms. What is left out is below the
 * rounding of 8, 16 and 24 bits. */
#ifndef LVLM_RUNTIME_KERNEL_PACK_H
#define LVLM_RUNTIME_KERNEL_PACK_H

#include "formats/container/dtype.h"
#include "runtime/kernel/kernel.h"

/* A matrix of F32, BF16 or F16 in memory: element (r, k) is number r * ld + k, or where
 * it is turned k * ld + r. Products sum over k. */
typedef struct lvlm_matrix {
    const void *data;
    lvlm_dtype dtype;
    size_t ld;
    bool turned;
} lvlm_matrix;

/* Of which an operand is packed. */
typedef struct lvlm_form {
    bool is_floats;
    unsigned levels;
    lvlm_turn *turn; /* the kernel's */
} lvlm_form;

/* Terms of a value of `dtype`. */
unsigned lvlm_terms_of(lvlm_dtype dtype, unsigned levels);
/* Products of terms. */
unsigned lvlm_products_of(lvlm_dtype left, lvlm_dtype right, unsigned levels);

/* out[i] = x[i], rounded to the sum of so many terms; 3: as it is. out may be x. */
void lvlm_round_to_terms(float *out, const float *x, size_t n, unsigned levels);

/* Of `rows` rows or columns over `steps` steps; steps from number s on begin s * step
 * later. */
size_t lvlm_pack_bytes(size_t rows, size_t steps, lvlm_form form);

/* Rows [first, first + n) of m over [k, k + len), as kernels' left side of `rows` rows,
 * n <= rows <= LVLM_MOST_ROWS. Where that can be done it is m's own memory; else it is
 * written to `memory`, padded with zeros. */
lvlm_left lvlm_pack_left(void *memory, const lvlm_matrix *m, size_t first, size_t n,
                         size_t rows, size_t k, size_t len, lvlm_form form);

/* The same as kernels' right side, in `memory`. */
lvlm_right lvlm_pack_right(void *memory, const lvlm_matrix *m, size_t first, size_t n,
                           size_t k, size_t len, lvlm_form form);

/* Prefetch rows [first, first + n) of m, of any dtype, over [k, k + len). */
void lvlm_fetch(const lvlm_matrix *m, size_t first, size_t n, size_t k, size_t len);

#endif
