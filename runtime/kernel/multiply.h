/* multiply.h - matrix products in float by the processor's own kernels, in parallel.
 *
 *   c = left right^T      left (M,K)  right (N,K)  c (M,N)
 *
 *   one operand is packed once, a stretch of rows and of the sum at a time, by all
 *   threads; tasks take pieces of the other, which is read in place or packed as it is
 *   needed, and multiply them with what is packed, or with a share of it
 *
 * How many tasks there are depends on the threads; blocks of sums and their order do
 * not, nor do the results. Sums are in float, over blocks of at most 512 values; the
 * sums of blocks are added in order, which keeps long ones as accurate as those of
 * OpenBLAS. */
#ifndef LVLM_RUNTIME_KERNEL_MULTIPLY_H
#define LVLM_RUNTIME_KERNEL_MULTIPLY_H

#include "runtime/kernel/pack.h"

typedef struct lvlm_output {
    float *data; /* element (m, n) is number m * ld + n, or turned n * ld + m */
    size_t ld;
    bool turned;
    bool adds;         /* to what is there; else it is overwritten, and not read */
    const float *bias; /* (M), is added where `adds` is not set; or NULL */
    float scale;       /* of the products */
} lvlm_output;

typedef struct lvlm_product {
    lvlm_matrix left, right;
    size_t M, N, K; /* >= 1 */
    lvlm_output out;
    unsigned levels; /* 3: float32; 2, 1: operands rounded to so many terms (pack.h) */
    bool packs_left; /* is the left operand packed once? else the right one */
    size_t stretch;  /* of the sum, at most, that is packed at once */
} lvlm_product;

/* Bytes of scratch, whatever M, N and K are. */
size_t lvlm_product_scratch(size_t stretch, size_t n_threads);

/* The unit has kernels. `scratch` is aligned to 64 bytes. */
void lvlm_product_run(const lvlm_product *p, const lvlm_unit *unit, void *scratch,
                      size_t n_threads);

/* How many tasks, about as long as each other, share each stretch of such a product. */
size_t lvlm_product_tasks(const lvlm_product *p, const lvlm_unit *unit,
                          size_t n_threads);

/* The same by the calling thread alone, `stretch` left out: for many small products.
 * Bytes of scratch where the operand that is packed once has at most `rows` rows, and
 * the sum at most `length` values. */
size_t lvlm_product_small_scratch(size_t rows, size_t length);
void lvlm_product_small(lvlm_product p, const lvlm_unit *unit, void *scratch);

#endif
