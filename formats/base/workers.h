/* workers.h - a few threads that share one piece of work.
 *
 * For streaming and hashing; the runtime's parallel loops are OpenMP's
 * (runtime/ops). */
#ifndef LVLM_FORMATS_BASE_WORKERS_H
#define LVLM_FORMATS_BASE_WORKERS_H

#include <stddef.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

/* Run `work(user)` in `n_threads` threads, the calling one among them, and wait for
 * all. Fewer run where the system gives no more, so `work` must do everything that
 * is left when it is alone: take the next item until there is none. */
void lvlm_workers_run(size_t n_threads, void (*work)(void *user), void *user);

/* Run `item(user, i, err)` for every i < n, each once, in order of beginning. After a
 * failure no more are begun, and it is the first one's code and message that come
 * back. */
LVLM_MUST_CHECK int lvlm_workers_each(size_t n_threads, size_t n,
                                      int (*item)(void *user, size_t i,
                                                  lvlm_error *err),
                                      void *user, lvlm_error *err);

LVLM_END_DECLS

#endif
