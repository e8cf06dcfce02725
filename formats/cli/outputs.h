/* outputs.h - the outputs of one command, checked and opened before its work.
 *
 *   lvlm_outputs_file, _dir, _name   refused if it exists (without --force), another
 *                                    output has the name, another run is writing it
 *   lvlm_outputs_spare, _folder      refused if one of these inputs would be replaced
 *   work; commit of each             outfile.h, outdir.h
 *   lvlm_outputs_close               outputs that were not committed are removed
 *
 * A signal that ends the program removes the temporaries (cleanup.h). */
#ifndef LVLM_FORMATS_CLI_OUTPUTS_H
#define LVLM_FORMATS_CLI_OUTPUTS_H

#include <sys/types.h>

#include "formats/base/outdir.h"
#include "formats/base/outfile.h"

enum { LVLM_MAX_OUTPUTS = 8 };

typedef struct lvlm_output {
    const char *path; /* as given */
    bool exists;      /* then its identity, links followed: */
    dev_t dev;
    ino_t ino;
    dev_t folder_dev; /* identity of its folder */
    ino_t folder_ino;
    lvlm_outfile *file; /* or */
    lvlm_outdir *dir;
    int cleanup; /* handle */
} lvlm_output;

/* Initialise with { .force = ... }. */
typedef struct lvlm_outputs {
    bool force;
    lvlm_output at[LVLM_MAX_OUTPUTS];
    size_t n;
} lvlm_outputs;

/* Open an output; *out is borrowed, and NULL if `path` is. LVLM_EUSAGE and LVLM_EIO as
 * in outfile.h and outdir.h. */
LVLM_MUST_CHECK int lvlm_outputs_file(lvlm_outputs *outputs, lvlm_outfile **out,
                                      const char *path, lvlm_error *err);
LVLM_MUST_CHECK int lvlm_outputs_dir(lvlm_outputs *outputs, lvlm_outdir **out,
                                     const char *path, const lvlm_outdir_set *set,
                                     lvlm_error *err);
/* Register a file that the caller opens itself. */
LVLM_MUST_CHECK int lvlm_outputs_name(lvlm_outputs *outputs, const char *path,
                                      lvlm_error *err);

/* LVLM_EUSAGE if an output would replace one of these inputs, even with --force: it is
 * the same file, links followed, or the new set of a folder would remove it.
 * inputs (n), NULL ones are skipped */
LVLM_MUST_CHECK int lvlm_outputs_spare(const lvlm_outputs *outputs,
                                       const char *const *inputs, size_t n,
                                       lvlm_error *err);
/* The same for the files in `folder` and its subfolders whose names match one of
 * `patterns` (fnmatch, ignoring case; NULL at the end). `folder` may be NULL. */
LVLM_MUST_CHECK int lvlm_outputs_spare_folder(const lvlm_outputs *outputs,
                                              const char *folder,
                                              const char *const *patterns,
                                              lvlm_error *err);

void lvlm_outputs_close(lvlm_outputs *outputs);

#endif
