/* outdir.h - an output directory that appears whole under its name or not at all.
 *
 *   open    a temporary directory, locked (temporary.h)
 *   ...     files are written into it (outfile.h)
 *   commit  rename over the name, fsync of the parent
 *   close   before a commit: the temporary directory and what is in it are removed
 *
 * A target that no rename can replace gets the temporary directory inside, and commit
 * moves the files up: ".", a link, a mount point, an empty one with a parent that is
 * not ours to write to, and, with `overwrite`, one that holds files. Of those, files
 * that the new set does not name stay, except for parts of an older set
 * (lvlm_outdir_set).
 *
 * Whenever that is interrupted, whoever loads from the directory gets the old set, the
 * new one, or finds none: the new set is complete first; then all parts of the old one
 * are removed, then the new ones move in, the one that names the others last. */
#ifndef LVLM_FORMATS_BASE_OUTDIR_H
#define LVLM_FORMATS_BASE_OUTDIR_H

#include <stdbool.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_outdir lvlm_outdir;

/* Which files make up what is loaded from the directory: fnmatch patterns, NULL at the
 * end. Constant data. */
typedef struct lvlm_outdir_set {
    /* parts of a set; old ones are removed in this order: first what is not looked for
       while another is there */
    const char *const *parts;
    /* without these nothing is loaded: moved in last, in this order */
    const char *const *last;
} lvlm_outdir_set;

/* LVLM_EUSAGE when `path` is there, is not empty, and `overwrite` is false; LVLM_EIO
 * when another run is writing it. `set` NULL: files are only replaced by their names.
 * */
LVLM_MUST_CHECK int lvlm_outdir_open(lvlm_outdir **out, const char *path,
                                     bool overwrite, const lvlm_outdir_set *set,
                                     lvlm_error *err);
/* Where files go until commit. Borrowed. */
const char *lvlm_outdir_path(const lvlm_outdir *dir);
/* Would commit remove a file of this name, as a part of an older set? */
bool lvlm_outdir_removes(const lvlm_outdir *dir, const char *name);

/* When moving fails half way, or a signal ends it, what was not moved is kept in
 * PATH/.lvlm-moving: the message says so, and a run with `overwrite` removes it. */
LVLM_MUST_CHECK int lvlm_outdir_commit(lvlm_outdir *dir, lvlm_error *err);
void lvlm_outdir_close(lvlm_outdir *dir);

LVLM_END_DECLS

#endif
