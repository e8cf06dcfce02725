/* order.h - which examples make up which batch of a run.
 *
 *   each epoch: all examples, shuffled
 *       -> windows of up to 50 batches, each sorted by length, and cut into batches
 *       -> batches, shuffled
 *
 * so that the examples of a batch have similar lengths, as with group_by_length of the
 * reference's Trainer. The order depends only on seed, lengths and the epoch's number,
 * so that a run can be resumed anywhere. Distinct objects may be used from distinct
 * threads. */
#ifndef LVLM_RUNTIME_TUNE_ORDER_H
#define LVLM_RUNTIME_TUNE_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_order {
    size_t n;              /* examples */
    size_t batch_size;     /* of all except the last one of an epoch */
    const size_t *lengths; /* (n) borrowed */
    bool shuffled;         /* else in the order of the file, whatever the lengths */
    uint64_t seed;
    size_t n_batches; /* of an epoch */
    /* the last epoch that was requested; not for callers */
    size_t epoch;
    size_t *examples, *batches; /* (n) batch by batch, (n_batches); owned */
} lvlm_order;

/* `order` has its first five fields set, n and batch_size at least 1. Free with
 * lvlm_order_free, also after a failure, which is LVLM_ENOMEM. */
LVLM_MUST_CHECK int lvlm_order_init(lvlm_order *order, lvlm_error *err);
void lvlm_order_free(lvlm_order *order);

/* The *n examples of batch number `i` of a run, from 0, epoch by epoch. Borrowed until
 * the next call. */
LVLM_MUST_CHECK int lvlm_order_batch(const size_t **examples, size_t *n,
                                     lvlm_order *order, size_t i, lvlm_error *err);

/* The numbers below n, at least 1, in order or shuffled; depends only on the arguments.
 * order (n) */
void lvlm_order_make(size_t *order, size_t n, bool shuffled, uint64_t seed,
                     size_t epoch);

LVLM_END_DECLS

#endif
