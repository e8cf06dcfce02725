/* processors.h - the number of threads to start. */
#ifndef LVLM_FORMATS_BASE_PROCESSORS_H
#define LVLM_FORMATS_BASE_PROCESSORS_H

#include <stddef.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

/* Each thread has its own scratch; larger numbers are a mistake. */
enum { LVLM_MAX_THREADS = 1024 };

/* Processors that this process may use, from 1 to LVLM_MAX_THREADS: those of its
 * affinity, limited by the quotas of its cgroup and the parents of that (version 2:
 * cpu.max, version 1: cpu.cfs_quota_us). */
size_t lvlm_processors(void);

/* The quota as a number of processors, at least 1; 0: none. `root` is prepended to
 * every path that is read; "" for this machine. */
size_t lvlm_processor_quota(const char *root);

LVLM_END_DECLS

#endif
