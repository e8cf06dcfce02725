/* cgroups.h - the folders in which the kernel keeps the limits of this process. */
#ifndef LVLM_FORMATS_BASE_CGROUPS_H
#define LVLM_FORMATS_BASE_CGROUPS_H

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

/* Visit the folder of each cgroup that `controller` ("cpu", "memory") limits this
 * process by, and those above it: those of version 2, and of version 1 where they are
 * there. `root` is before every path that is read, "" for this machine. */
void lvlm_cgroups_visit(const char *root, const char *controller,
                        void (*visit)(void *user, const char *folder), void *user);

/* The numbers of a file in such a folder: how many of the first two there are. */
int lvlm_cgroups_numbers(double out[2], const char *folder, const char *name);

LVLM_END_DECLS

#endif
