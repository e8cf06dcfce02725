/* outdir.h - an output directory that appears whole under its name or not at all.
 *
 *   open    a temporary directory, locked (temporary.h)
 *   ...     files are written into it (outfile.h)
 *   commit  rename over the name, fsync of the parent
 *   close   before a commit: the temporary directory and what is in it are removed
 *
 * If rename cannot replace the target, the temporary directory is inside it and commit
 * moves the files up. Such targets are ".", a link, a mount point, an empty directory
 * whose parent is not writable and, with `overwrite`, a directory with files. Existing
 * files that the new set does not name are kept, except parts of an older set
 * (lvlm_outdir_set).
 *
 * If that is interrupted, a loader finds the old set, the new one, or none: first the
 * new set is completed, then all parts of the old one are removed, then the new files
 * are moved, and the one that names the others last. Distinct objects may be used from
 * distinct threads. */
#ifndef LVLM_FORMATS_BASE_OUTDIR_H
#define LVLM_FORMATS_BASE_OUTDIR_H

#include <stdbool.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_outdir lvlm_outdir;

/* The files that make up a set: fnmatch patterns, NULL at the end. Constant data. */
typedef struct lvlm_outdir_set {
    /* parts of a set; old ones are removed in this order, so that those of lower
     * precedence for loaders go first */
    const char *const *parts;
    /* required by loaders: moved last, in this order */
    const char *const *last;
} lvlm_outdir_set;

/* LVLM_EUSAGE if `path` exists, is not empty and `overwrite` is false; LVLM_EIO if
 * another run is writing it. `set` NULL: files are only replaced by name. */
LVLM_MUST_CHECK int lvlm_outdir_open(lvlm_outdir **out, const char *path,
                                     bool overwrite, const lvlm_outdir_set *set,
                                     lvlm_error *err);
/* Where files go until commit. Borrowed. */
const char *lvlm_outdir_path(const lvlm_outdir *dir);
/* Would commit remove a file of this name as part of an older set? */
bool lvlm_outdir_removes(const lvlm_outdir *dir, const char *name);

/* If moving fails half way or is ended by a signal, the other files are kept in
 * PATH/.lvlm-moving: the message says so, and a run with `overwrite` removes it. */
LVLM_MUST_CHECK int lvlm_outdir_commit(lvlm_outdir *dir, lvlm_error *err);
void lvlm_outdir_close(lvlm_outdir *dir);

LVLM_END_DECLS

#endif
