/* outputs.h - may that be written? The outputs of one command, opened before its work.
 *
 *   lvlm_outputs_file, _dir, _name   refused: it exists (without --force), another
 *                                    output has the name, another run is writing it
 *   lvlm_outputs_spare, _folder      refused: one of these inputs would be replaced
 *   work; commit of each             outfile.h, outdir.h
 *   lvlm_outputs_close               what was not committed leaves nothing
 *
 * A signal that ends the program removes the temporaries (cleanup.h). */
#ifndef LVLM_FORMATS_CLI_OUTPUTS_H
#define LVLM_FORMATS_CLI_OUTPUTS_H

#include <sys/types.h>

#include "formats/base/outdir.h"
#include "formats/base/outfile.h"

enum { LVLM_MAX_OUTPUTS = 8 };

typedef struct lvlm_output {
    const char *path; /* as it was given */
    bool exists;      /* and is this one, links followed: */
    dev_t dev;
    ino_t ino;
    dev_t folder_dev; /* the folder that its name is in */
    ino_t folder_ino;
    lvlm_outfile *file; /* or */
    lvlm_outdir *dir;
    int cleanup; /* handle */
} lvlm_output;

/* Starts as { .force = ... }. */
typedef struct lvlm_outputs {
    bool force;
    lvlm_output at[LVLM_MAX_OUTPUTS];
    size_t n;
} lvlm_outputs;

/* Open an output; *out is borrowed, and NULL where `path` is. LVLM_EUSAGE and LVLM_EIO
 * as outfile.h and outdir.h have them. */
LVLM_MUST_CHECK int lvlm_outputs_file(lvlm_outputs *outputs, lvlm_outfile **out,
                                      const char *path, lvlm_error *err);
LVLM_MUST_CHECK int lvlm_outputs_dir(lvlm_outputs *outputs, lvlm_outdir **out,
                                     const char *path, const lvlm_outdir_set *set,
                                     lvlm_error *err);
/* A file that the caller writes by itself. */
LVLM_MUST_CHECK int lvlm_outputs_name(lvlm_outputs *outputs, const char *path,
                                      lvlm_error *err);

/* LVLM_EUSAGE when an output would replace one of these inputs (n; NULL is none), also
 * under --force: it is the same file, links followed, or the new set of a folder would
 * remove it. */
LVLM_MUST_CHECK int lvlm_outputs_spare(const lvlm_outputs *outputs,
                                       const char *const *inputs, size_t n,
                                       lvlm_error *err);
/* The same of the files in `folder` and below whose names match one of `patterns`
 * (fnmatch, whatever their case; NULL at the end). `folder` NULL is none. */
LVLM_MUST_CHECK int lvlm_outputs_spare_folder(const lvlm_outputs *outputs,
                                              const char *folder,
                                              const char *const *patterns,
                                              lvlm_error *err);

void lvlm_outputs_close(lvlm_outputs *outputs);

#endif
