/* outdir.h - an output directory that appears whole under its name or not at all.
 *
 *   open    a temporary directory beside the target (".NAME.tmp-XXXXXX")
 *   ...     files are written into it (outfile.h)
 *   commit  rename over the name, fsync of the parent
 *   close   before a commit: the temporary directory and what is in it are removed
 *
 * An empty target that no rename can replace (".", a link, a mount point, a
 * read-only parent) gets the
 * temporary directory inside, and commit moves its files up one by one.
 *
 * A target that holds files already cannot be replaced in one step, and what else it
 * holds is not ours to remove: with `overwrite` the files are then written into it one
 * by one, each whole or not at all. */
#ifndef LVLM_FORMATS_BASE_OUTDIR_H
#define LVLM_FORMATS_BASE_OUTDIR_H

#include <stdbool.h>

#include "formats/base/error.h"

typedef struct lvlm_outdir lvlm_outdir;

/* LVLM_EUSAGE when `path` is there, is not empty, and `overwrite` is false. */
LVLM_MUST_CHECK int lvlm_outdir_open(lvlm_outdir **out, const char *path,
                                     bool overwrite, lvlm_error *err);
/* Where files go meanwhile. Borrowed. */
const char *lvlm_outdir_path(const lvlm_outdir *dir);
LVLM_MUST_CHECK int lvlm_outdir_commit(lvlm_outdir *dir, lvlm_error *err);
void lvlm_outdir_close(lvlm_outdir *dir);

#endif
