/* run.h - how long work is run and watched: threads and progress. */
#ifndef LVLM_FORMATS_BASE_RUN_H
#define LVLM_FORMATS_BASE_RUN_H

#include <stddef.h>
#include <stdint.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_run {
    size_t threads; /* at least 1 */
    /* Called with the number of bytes done so far and their total, from any thread and
     * several at once. May be NULL. */
    void (*progress)(void *user, uint64_t done, uint64_t total);
    void *user;
} lvlm_run;

LVLM_END_DECLS

#endif
