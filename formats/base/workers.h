/* workers.h - a few threads that share one piece of work.
 *
 * For streaming and hashing; the runtime's parallel loops are OpenMP's
 * (runtime/ops). */
#ifndef LVLM_FORMATS_BASE_WORKERS_H
#define LVLM_FORMATS_BASE_WORKERS_H

#include <stddef.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

/* Run `work(user)` in `n_threads` threads, including the calling one, and wait for all.
 * Fewer run if the system cannot start more, so `work` must take items until none is
 * left. */
void lvlm_workers_run(size_t n_threads, void (*work)(void *user), void *user);

/* Run `item(user, i, err)` once for every i < n, started in order. After a failure no
 * more are started, and the code and message of the first failed item are returned. */
LVLM_MUST_CHECK int lvlm_workers_each(size_t n_threads, size_t n,
                                      int (*item)(void *user, size_t i,
                                                  lvlm_error *err),
                                      void *user, lvlm_error *err);

LVLM_END_DECLS

#endif
