/* import.h - a Hugging Face checkpoint, or big_vision's .npz, to one native file.
 *
 *   lvlm_import_plan     matches every tensor and plans the file; reads headers only
 *   lvlm_import_execute  streams the data and writes the header last
 *
 * Distinct imports may run in distinct threads. */
#ifndef LVLM_CONVERT_IMPORT_H
#define LVLM_CONVERT_IMPORT_H

#include "convert/grow.h"
#include "formats/base/outfile.h"
#include "formats/base/run.h"
#include "formats/checkpoint/manifest.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_import_options {
    bool headers_only; /* for a dry run: nothing can be written */
    bool change_dtype; /* store weights as `dtype` instead of their own */
    lvlm_dtype dtype;
    lvlm_init init; /* how missing connector tensors may be made */
    bool npz;       /* the source must be an .npz */
    /* the provenance's word for a source that was joined from parts; else NULL */
    const char *joined;
    /* (tensors of the source) how its files have them, where they were renamed or have
     * grown, and their files can be given back; NULL: as they are */
    const lvlm_tensor *originals;
    /* prefix of native names of a square map of the connector that is made as the
     * identity, with a bias of zeros; NULL: none */
    const char *identity;
    /* source tensors with more rows than are stored, whose data is NULL */
    lvlm_growth *growths;
    size_t n_growths;
    const char *config; /* for an .npz: path of its config.json, or NULL */
    lvlm_notes *notes;  /* receives what is skipped of the source; NULL: none */
    /* Called with a line per tensor that does not match, of which planning fails then
     * with LVLM_ECHECK; may be NULL. */
    void (*problem)(void *user, const char *text);
    void *problem_user;
    /* Called before anything is written, to check the source; may be NULL. */
    int (*check)(void *user, const lvlm_run *run, lvlm_error *err);
    void *check_user;
} lvlm_import_options;

typedef struct lvlm_import lvlm_import;

/* Open `path` and plan its conversion. On success free *out with lvlm_import_free;
 * after a failure it is NULL. */
LVLM_MUST_CHECK int lvlm_import_plan(lvlm_import **out, const char *path,
                                     const lvlm_import_options *options,
                                     lvlm_error *err);

/* The same for a checkpoint that is open, which must outlive *out. */
LVLM_MUST_CHECK int lvlm_import_plan_source(lvlm_import **out, lvlm_checkpoint *source,
                                            const lvlm_import_options *options,
                                            lvlm_error *err);

/* What is planned; borrowed. */
typedef struct lvlm_import_view {
    const lvlm_manifest *manifest; /* its checkpoint is the source */
    const lvlm_ledger *ledger;
    const lvlm_plan *plan; /* its narrowing is valid after lvlm_import_execute */
    const lvlm_import_options *options;
} lvlm_import_view;
lvlm_import_view lvlm_import_planned(const lvlm_import *import);

/* Write the native file, commit it, and note what follows. `root` receives the root
 * digest. */
LVLM_MUST_CHECK int lvlm_import_execute(lvlm_import *import, lvlm_outfile *file,
                                        const lvlm_run *run, lvlm_hex_digest root,
                                        lvlm_error *err);
/* Note what a user should know beyond the numbers: what was made, heads that are not
 * what the configuration says, and values that the chosen type cannot hold. For a dry
 * run. */
LVLM_MUST_CHECK int lvlm_import_note(const lvlm_import *import, lvlm_error *err);
void lvlm_import_free(lvlm_import *import);

LVLM_END_DECLS

#endif
