/* import.h - a Hugging Face checkpoint, or big_vision's .npz, to one native file.
 *
 *   lvlm_import_plan     matches every tensor and plans the file; reads headers only
 *   lvlm_import_execute  streams the data and writes the header last
 *
 * Distinct imports may run in distinct threads. */
#ifndef LVLM_CONVERT_IMPORT_H
#define LVLM_CONVERT_IMPORT_H

#include "convert/make.h"
#include "formats/base/outfile.h"
#include "formats/base/run.h"
#include "formats/checkpoint/manifest.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_import_options {
    bool change_dtype; /* store weights as `dtype` instead of their own */
    lvlm_dtype dtype;
    lvlm_init init;     /* how missing connector tensors may be made */
    bool npz;           /* the source must be an .npz */
    const char *config; /* for an .npz: path of its config.json, or NULL */
    lvlm_notes *notes;  /* receives what is skipped of the source; NULL: none */
} lvlm_import_options;

typedef struct lvlm_import {
    lvlm_checkpoint *source;
    lvlm_manifest manifest;
    lvlm_import_options options;
    lvlm_plan plan;
    lvlm_ledger ledger;
    cJSON *provenance;
    size_t provenance_bytes; /* space for it in the header */
    /* the effect of `dtype` on values; valid after execution */
    lvlm_narrowing narrowing;
    lvlm_arena arena;
} lvlm_import;

/* Open `path` and plan its conversion. `problem` (may be NULL) is called with a line
 * per problem; then the result is LVLM_ECHECK. Free *out with lvlm_import_free, also
 * after a failure. `headers_only`: a dry run. */
LVLM_MUST_CHECK int lvlm_import_plan(lvlm_import *out, const char *path,
                                     const lvlm_import_options *options,
                                     bool headers_only,
                                     void (*problem)(void *user, const char *text),
                                     void *user, lvlm_error *err);

/* Write the native file and commit it. `root` receives the root digest. */
LVLM_MUST_CHECK int lvlm_import_execute(lvlm_import *import, lvlm_outfile *file,
                                        const lvlm_run *run, lvlm_hex_digest root,
                                        lvlm_error *err);
void lvlm_import_free(lvlm_import *import);

LVLM_END_DECLS

#endif
