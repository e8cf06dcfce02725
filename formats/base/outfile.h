/* outfile.h - an output file that appears whole under its name or not at all.
 *
 *   open      a temporary file next to the target, locked (temporary.h)
 *   write...  in order, or lvlm_outfile_write_at anywhere; the first error sticks
 *   commit    flush, fsync, rename over the name, fsync of the directory
 *   close     before a commit: the temporary file is removed, nothing has changed
 *
 * Open it before computing its contents, so that a target that cannot be written is
 * reported first. Writes need no check: commit reports the first error, with the file's
 * name. lvlm_outfile_write_at may be called from several threads at once on disjoint
 * ranges; everything else from one thread. An interrupted process leaves at most the
 * temporary file, which the next run on the same target removes. */
#ifndef LVLM_FORMATS_BASE_OUTFILE_H
#define LVLM_FORMATS_BASE_OUTFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/digest.h"
#include "formats/base/error.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_outfile lvlm_outfile;

/* `overwrite` false: an existing target is LVLM_EUSAGE ("exists; --force overwrites"),
 * checked here and again, atomically, at commit. With `overwrite`, a directory, a
 * device and a link to one are LVLM_EUSAGE; a link to a file is replaced, not followed.
 * The new file has the mode of the one that it replaces. LVLM_EIO if another run is
 * writing the same target. */
LVLM_MUST_CHECK int lvlm_outfile_open(lvlm_outfile **out, const char *path,
                                      bool overwrite, lvlm_error *err);
/* The path as given to open, and the path of the temporary file. Borrowed. */
const char *lvlm_outfile_path(const lvlm_outfile *file);
const char *lvlm_outfile_temporary(const lvlm_outfile *file);

/* Append at the current end. */
void lvlm_outfile_write(lvlm_outfile *file, const void *bytes, size_t n_bytes);

/* Write at an offset and update `digest` (started by the caller, or NULL). With a
 * digest, `bytes` must not be in a mapped file, which may change between hashing and
 * writing. Starts write-back early, so that commit does not wait long. */
void lvlm_outfile_write_at(lvlm_outfile *file, uint64_t offset, const void *bytes,
                           size_t n_bytes, lvlm_digest *digest);

/* The first error of any write so far, for callers that do other work too. After an
 * error nothing is written and digests are not updated. */
LVLM_MUST_CHECK int lvlm_outfile_check(lvlm_outfile *file, lvlm_error *err);

/* Commit. After success or failure the object still needs close. */
LVLM_MUST_CHECK int lvlm_outfile_commit(lvlm_outfile *file, lvlm_error *err);
void lvlm_outfile_close(lvlm_outfile *file);

/* Write a small file in one call. */
LVLM_MUST_CHECK int lvlm_outfile_save(const char *path, const void *bytes,
                                      size_t n_bytes, bool overwrite, lvlm_error *err);

/* Make a folder, unless something of that name is there. */
LVLM_MUST_CHECK int lvlm_folder_make(const char *path, lvlm_error *err);

/* fsync the directory that `path` is in: a rename is durable once that is done. */
LVLM_MUST_CHECK int lvlm_sync_parent(const char *path, lvlm_error *err);

LVLM_END_DECLS

#endif
