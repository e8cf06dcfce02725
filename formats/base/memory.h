/* memory.h - how much memory there is for this process. Every function may be called
 * from several threads at once. */
#ifndef LVLM_FORMATS_BASE_MEMORY_H
#define LVLM_FORMATS_BASE_MEMORY_H

#include <stdbool.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

/* In bytes. */
typedef struct lvlm_memory {
    double free;  /* may be used without swapping: what the kernel calls available */
    double total; /* that there is at all, swap included */
} lvlm_memory;

/* Both are no more than the limits of the process's cgroup and those above it leave
 * (version 2: memory.max, version 1: memory.limit_in_bytes; pages of files that can be
 * dropped count as free). false where the kernel says nothing. `root` is before every
 * path that is read, "" for this machine. */
bool lvlm_memory_read(lvlm_memory *out, const char *root);

LVLM_END_DECLS

#endif
