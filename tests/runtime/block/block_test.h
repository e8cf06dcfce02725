/* block_test.h - gradients of blocks compared with finite differences: random weights,
 * and for each its gradient, which must be the slope of the loss.
 *
 * Built with LVLM_REAL_BITS=64. The loss is <out, r> with a random r. */
#ifndef LVLM_TESTS_RUNTIME_BLOCK_BLOCK_TEST_H
#define LVLM_TESTS_RUNTIME_BLOCK_BLOCK_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/block/weights.h"
#include "tests/support/gradcheck.h"

#define BLOCK_BAND 1e-6 /* relative; observed 3.5e-7, gcc 12, OpenBLAS 0.3.21 */

enum { BLOCK_PLACES = 32 };

/* Arrays under test and where their gradients are. */
typedef struct block_places {
    struct {
        const char *name;
        double *x, *grad;
        size_t n;
    } at[BLOCK_PLACES];
    size_t n;
} block_places;

/* Random values in [-scale, scale), and a place for their gradient, zeroed. */
static inline double *block_place(block_places *p, const char *name, size_t n,
                                  double scale)
{
    double *const x = calloc(2 * n, sizeof *x);
    assert_non_null(x);
    assert_true(p->n < BLOCK_PLACES);
    gradcheck_fill(x, n, 77 + p->n);
    for (size_t i = 0; i < n; i++) x[i] *= scale;
    p->at[p->n].name = name;
    p->at[p->n].x = x;
    p->at[p->n].grad = x + n;
    p->at[p->n].n = n;
    p->n++;
    return x;
}

static inline weight_matrix block_matrix(block_places *p, const char *name, size_t O,
                                         size_t I)
{
    double *const x = block_place(p, name, O * I, 1.5 / (double)I);
    return (weight_matrix){ { x, LVLM_F64 }, (real *)(void *)(x + O * I), NULL };
}

static inline weight_vector block_vector(block_places *p, const char *name, size_t n)
{
    double *const x = block_place(p, name, n, 0.9);
    return (weight_vector){ (real *)(void *)x, (real *)(void *)(x + n) };
}

/* Every array of `p`; `loss` runs the block forward again. */
static inline void block_check(const block_places *p, gradcheck_loss *loss,
                               void *context)
{
    for (size_t i = 0; i < p->n; i++) {
        const double error =
            gradcheck(loss, context, p->at[i].x, p->at[i].grad, p->at[i].n);
        if (!(error <= BLOCK_BAND))
            fail_msg("%s: relative error %.2e", p->at[i].name, error);
    }
}

static inline void block_free(block_places *p)
{
    for (size_t i = 0; i < p->n; i++) free(p->at[i].x);
    p->n = 0;
}

#endif
