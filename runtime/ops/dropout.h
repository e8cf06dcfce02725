/* dropout.h - in training, each element becomes 0 with probability `rate`, and the
 * others are divided by 1 - rate.
 *
 * The choice depends only on the step, the place in the model, the row's own number and
 * the element's place in its row: not on threads, nor on which rows are computed
 * together. So backward and recomputation drop the same, and nothing is kept. */
#ifndef LVLM_RUNTIME_OPS_DROPOUT_H
#define LVLM_RUNTIME_OPS_DROPOUT_H

#include <assert.h>
#include <stdbool.h>

#include "runtime/ops/ops.h"

typedef struct dropout {
    double rate;          /* the probability, below 1; 0: nothing is dropped */
    uint64_t stream;      /* of the step and the place */
    const uint64_t *rows; /* (N) each row's own number */
} dropout;

static inline bool dropout_drops(const dropout *d)
{
    assert(d->rate >= 0 && d->rate < 1);
    return d->rate > 0;
}

/* The random numbers of a row, or of one of its heads. */
uint64_t dropout_stream(const dropout *d, size_t row, size_t head);

/* out = x with elements dropped by numbers first, first + 1, ... of a stream, or += it
 * when `add`.  out, x (n), may be the same */
void dropout_values(real *out, const real *x, double rate, uint64_t stream,
                    uint64_t first, size_t n, bool add);

/* Rows in place; the backward is the same on dx. x (M,C): row m is that of number
 * d->rows[at[m]]; `at` NULL: of d->rows[m] */
void dropout_rows(real *x, const dropout *d, const size_t *at, size_t M, size_t C);

#endif
