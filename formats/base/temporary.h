/* temporary.h - the temporary file or directory that an output is written to.
 *
 *   NAME  <--rename--  .NAME.lvlm-tmp     a file, or a folder of files
 *
 * A target has one temporary. Its writer holds a lock (flock) until it is renamed or
 * removed: a second run on the same target is refused, and an unlocked temporary is the
 * leftover of a killed run, which the next run removes. On file systems without locks
 * the run that began last wins. */
#ifndef LVLM_FORMATS_BASE_TEMPORARY_H
#define LVLM_FORMATS_BASE_TEMPORARY_H

#include <stdbool.h>
#include <sys/types.h>

#include "formats/base/arena.h"

LVLM_BEGIN_DECLS

/* The temporary's path for `path`: its name has at most NAME_MAX bytes and depends only
 * on `path`. NULL: out of memory. */
char *lvlm_temporary_name(const char *path, lvlm_arena *arena);

/* Is the last part of `path` such a name? */
bool lvlm_temporary_is(const char *path);

/* Create the file (or folder) `name`, locked, replacing a leftover of a killed run.
 * Messages name `target`. LVLM_EIO if another run holds it. *fd is open for writing (a
 * folder: for reading) and holds the lock until it is closed. */
LVLM_MUST_CHECK int lvlm_temporary_create(int *fd, const char *name, mode_t mode,
                                          bool folder, const char *target,
                                          lvlm_error *err);

/* Remove the leftover of a killed run under `name`, if any. LVLM_EIO if another run
 * holds it. */
LVLM_MUST_CHECK int lvlm_temporary_sweep(const char *name, const char *target,
                                         lvlm_error *err);

/* Remove a temporary file, or a folder and the files in it; `fd` is its descriptor or
 * -1. Allocates nothing and is async-signal-safe. */
void lvlm_temporary_remove(const char *name, int fd);

/* Lock an open file or folder against other runs until it is closed. LVLM_EIO: "TARGET:
 * is being written by another run". */
LVLM_MUST_CHECK int lvlm_lock(int fd, const char *target, lvlm_error *err);

LVLM_END_DECLS

#endif
