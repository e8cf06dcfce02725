/* temporary.h - what an output is written into before it gets its name.
 *
 *   NAME  <--rename--  .NAME.lvlm-tmp     a file, or a folder of files
 *
 * A target has one temporary. Whoever writes it holds a lock (flock) on it until it is
 * renamed or removed: a second run on the same target is refused, and a temporary that
 * nobody holds is what a killed run left, which the next one removes. Where the file
 * system has no locks, the run that began last wins. */
#ifndef LVLM_FORMATS_BASE_TEMPORARY_H
#define LVLM_FORMATS_BASE_TEMPORARY_H

#include <stdbool.h>
#include <sys/types.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

/* Its name beside `path`: never longer than NAME_MAX, always the same for the same
 * path. Owned; NULL: out of memory. */
char *lvlm_temporary_name(const char *path);

/* Is the last part of `path` such a name? */
bool lvlm_temporary_is(const char *path);

/* Create the file (or folder) `name`, locked, in place of one that a killed run left.
 * `target` is what messages name. LVLM_EIO when another run holds it. *fd is open for
 * writing (a folder: for reading) and keeps the lock until it is closed. */
LVLM_MUST_CHECK int lvlm_temporary_create(int *fd, const char *name, mode_t mode,
                                          bool folder, const char *target,
                                          lvlm_error *err);

/* Remove what a killed run left under `name`, if anything. LVLM_EIO when another run
 * holds it. */
LVLM_MUST_CHECK int lvlm_temporary_sweep(const char *name, const char *target,
                                         lvlm_error *err);

/* Remove a temporary file, or a folder and the files in it; `fd` is that, open, or -1.
 * Allocates nothing and is async-signal-safe. */
void lvlm_temporary_remove(const char *name, int fd);

/* Lock an open file or folder against other runs until it is closed. LVLM_EIO: "TARGET:
 * is being written by another run". */
LVLM_MUST_CHECK int lvlm_lock(int fd, const char *target, lvlm_error *err);

LVLM_END_DECLS

#endif
