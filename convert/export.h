/* export.h - a native file back to a Hugging Face directory.
 *
 *   source   every tensor file and side file as it came in, byte for byte: the frames
 *            and spans of the ledger, filled with the native tensors; of a model from
 *            .bin that has been trained or merged: fresh, under the names that came in
 *   hub      written fresh under the names of the official files
 *   current  written fresh under the names that the current library writes */
#ifndef LVLM_CONVERT_EXPORT_H
#define LVLM_CONVERT_EXPORT_H

#include "convert/plan.h"
#include "formats/base/outdir.h"
#include "formats/manifest.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_export_options {
    bool source; /* as it came in; else written fresh in `layout` */
    lvlm_layout layout;
    uint64_t max_shard; /* bytes of tensor data in one file, when written fresh */
    size_t threads;
    lvlm_notes *notes; /* receives what is not as it came in; NULL: none */
    void (*progress)(void *user, uint64_t n_bytes); /* may be NULL */
    void *user;
} lvlm_export_options;

/* One file of the directory. */
typedef struct lvlm_export_file {
    const char *name;
    lvlm_plan plan;
} lvlm_export_file;

typedef struct lvlm_export {
    lvlm_checkpoint *model;
    lvlm_manifest manifest;
    lvlm_export_options options;
    lvlm_export_file *files;
    size_t n_files, capacity;
    uint64_t n_bytes;   /* of all files */
    bool changed;       /* the model has been trained or merged since it came in */
    bool changed_dtype; /* conversion stored the weights as another type */
    bool added_config;  /* config.json is conversion's, the source had none */
    bool renewed;       /* `source` was asked for, and is written fresh under the names
                           that came in: a .bin holds no other values than it came with,
                           and the model has been trained or merged */
    lvlm_arena arena;
} lvlm_export;

/* Are the bytes of all files those that came in? */
bool lvlm_export_is_exact(const lvlm_export *ex);
/* What writing in narrower types than the model's made of the values; after
 * lvlm_export_execute. */
lvlm_narrowing lvlm_export_narrowing(const lvlm_export *ex);

/* Open the native file at `path` and plan the directory. LVLM_EFORMAT when `source` is
 * asked for and cannot be had, because conversion rounded the values. On success and on
 * failure *out must be given to lvlm_export_free. */
LVLM_MUST_CHECK int lvlm_export_plan(lvlm_export *out, const char *path,
                                     const lvlm_export_options *options,
                                     lvlm_error *err);

/* What loaders of a model look for, for lvlm_outdir_open. */
extern const lvlm_outdir_set lvlm_model_set;

/* Write the directory and commit it. Every native tensor is compared with its digest on
 * the way: LVLM_ECHECK names one that is corrupt. */
LVLM_MUST_CHECK int lvlm_export_execute(lvlm_export *ex, lvlm_outdir *dir,
                                        lvlm_error *err);
void lvlm_export_free(lvlm_export *ex);

LVLM_END_DECLS

#endif
