/* order.h - which examples make up which batch of a run.
 *
 *   each walk over the data: all examples, shuffled
 *       -> windows of up to 50 batches, each sorted by length, and cut into batches
 *       -> batches, shuffled
 *
 * so that those of a batch are of similar lengths, as with the reference Trainer's
 * group_by_length, and follow from seed, lengths and the walk's number alone: a run can
 * go on anywhere. Distinct objects may be used from distinct threads. */
#ifndef LVLM_RUNTIME_TUNE_ORDER_H
#define LVLM_RUNTIME_TUNE_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_order {
    size_t n;              /* examples */
    size_t batch_size;     /* of all but the last one of a walk */
    const size_t *lengths; /* (n) borrowed */
    bool shuffled;         /* else in the order of the file, whatever the lengths */
    uint64_t seed;
    size_t n_batches; /* of a walk */
    /* the walk that was asked for last; not for callers */
    size_t walk;
    size_t *examples, *batches; /* (n) batch by batch, (n_batches); owned */
} lvlm_order;

/* `order` has its first five fields set, n and batch_size at least 1. Free with
 * lvlm_order_free, also after a failure, which is LVLM_ENOMEM. */
LVLM_MUST_CHECK int lvlm_order_init(lvlm_order *order, lvlm_error *err);
void lvlm_order_free(lvlm_order *order);

/* The *n examples of batch number `i` of a run, from 0, walk by walk. Borrowed until
 * the next call. */
LVLM_MUST_CHECK int lvlm_order_batch(const size_t **examples, size_t *n,
                                     lvlm_order *order, size_t i, lvlm_error *err);

/* The numbers below n, at least 1, in order or shuffled; depends on what is given
 * alone.  order (n) */
void lvlm_order_make(size_t *order, size_t n, bool shuffled, uint64_t seed,
                     size_t walk);

LVLM_END_DECLS

#endif
