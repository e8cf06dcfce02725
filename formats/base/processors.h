/* processors.h - how many threads are worth starting. */
#ifndef LVLM_FORMATS_BASE_PROCESSORS_H
#define LVLM_FORMATS_BASE_PROCESSORS_H

#include <stddef.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

/* A thread has scratch of its own; more are a mistake rather than a machine. */
enum { LVLM_MAX_THREADS = 1024 };

/* Processors that this process may use, from 1 to LVLM_MAX_THREADS: those of its
 * affinity, and no more than the quota of its cgroup and those above it gives time for
 * (version 2: cpu.max, version 1: cpu.cfs_quota_us). */
size_t lvlm_processors(void);

/* The quota as a number of processors, at least 1; 0: there is none. `root` is before
 * every path that is read, "" for this machine. */
size_t lvlm_processor_quota(const char *root);

LVLM_END_DECLS

#endif
