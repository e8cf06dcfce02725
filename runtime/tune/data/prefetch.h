/* prefetch.h - one thread that makes items ahead while its caller computes.
 *
 *   make(0), make(1), ...   in a thread, at most `depth` ahead -> take, in order
 *
 * The items, and a failure, depend only on `make`, not on timing. */
#ifndef LVLM_RUNTIME_TUNE_DATA_PREFETCH_H
#define LVLM_RUNTIME_TUNE_DATA_PREFETCH_H

#include <stddef.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_prefetch_work {
    /* Make item number `i`; called from one thread at a time, in order. NULL is an item
     * like any other. After a failure no others are made. */
    int (*make)(void **item, void *user, size_t i, lvlm_error *err);
    void (*drop)(void *item); /* frees an item that was not taken; never NULL */
    void *user;
    size_t first, end; /* items [first, end) */
    size_t depth;      /* 0: no thread, each is made when it is taken */
} lvlm_prefetch_work;

typedef struct lvlm_prefetch lvlm_prefetch;

/* `work` is copied. If no thread can be created, depth is 0. On success *out must
 * be freed with lvlm_prefetch_stop, which waits for the item that is being made.
 * LVLM_ENOMEM. */
LVLM_MUST_CHECK int lvlm_prefetch_start(lvlm_prefetch **out,
                                        const lvlm_prefetch_work *work,
                                        lvlm_error *err);
void lvlm_prefetch_stop(lvlm_prefetch *prefetch);

/* The next item, which the caller owns. If making it failed, that failure, now and on
 * every later call. Not beyond the end. */
LVLM_MUST_CHECK int lvlm_prefetch_take(void **item, lvlm_prefetch *prefetch,
                                       lvlm_error *err);

LVLM_END_DECLS

#endif
