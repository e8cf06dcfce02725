/* export.h - exports a native file as a Hugging Face directory.
 *
 *   source   every tensor file and side file of the source, byte for byte: the frames
 *            and spans of the ledger, filled with the native tensors. If a model from
 *            .bin has been trained or merged: fresh files with the source's names
 *   hub      fresh files with the names of the official files
 *   current  fresh files with the names that the current library writes */
#ifndef LVLM_CONVERT_EXPORT_H
#define LVLM_CONVERT_EXPORT_H

#include "formats/base/outdir.h"
#include "formats/base/run.h"
#include "formats/checkpoint/manifest.h"
#include "formats/container/plan.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_export_options {
    bool source; /* as in the source; else fresh files in `layout` */
    lvlm_layout layout;
    uint64_t max_shard; /* bytes of tensor data per fresh file */
    lvlm_notes *notes;  /* receives what differs from the source; NULL: none */
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
    bool changed;       /* the model has been trained or merged since conversion */
    bool changed_dtype; /* conversion stored the weights as another type */
    bool added_config;  /* config.json was derived, the source had none */
    /* `source` was requested but is written as safetensors with the source's names: the
     * model has been trained or merged, and a .bin can be rebuilt only with its
     * original values */
    bool rewritten_as_safetensors;
    lvlm_arena arena;
} lvlm_export;

/* Are all files byte for byte those of the source? */
bool lvlm_export_is_exact(const lvlm_export *ex);
/* The effect on values of writing narrower types than the model's; valid after
 * lvlm_export_execute. */
lvlm_narrowing lvlm_export_narrowing(const lvlm_export *ex);

/* Open the native file at `path` and plan the directory. LVLM_EFORMAT if `source` is
 * requested but impossible, because conversion rounded the values. Free *out with
 * lvlm_export_free, also after a failure. */
LVLM_MUST_CHECK int lvlm_export_plan(lvlm_export *out, const char *path,
                                     const lvlm_export_options *options,
                                     lvlm_error *err);

/* The files that loaders of a model read, for lvlm_outdir_open. */
extern const lvlm_outdir_set lvlm_model_set;

/* Write the directory and commit it. Every native tensor is compared with its digest
 * while it is read: LVLM_ECHECK names a corrupt one. */
LVLM_MUST_CHECK int lvlm_export_execute(lvlm_export *ex, lvlm_outdir *dir,
                                        const lvlm_run *run, lvlm_error *err);
void lvlm_export_free(lvlm_export *ex);

LVLM_END_DECLS

#endif
