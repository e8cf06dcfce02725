/* export.h - exports a native file as a Hugging Face directory.
 *
 *   source   every tensor file and side file of the source, byte for byte: the frames
 *            and spans of the ledger, filled with the native tensors. If a model from
 *            .bin has been trained or merged: fresh files with the source's names
 *   hub      fresh files with the names of the official files
 *   current  fresh files with the names that the current library writes
 *   a part   the tower or the language model, as if saved by itself
 *
 * Distinct exports may run in distinct threads. */
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
    const char *part;   /* "vision", "text": only that, in the hub's layout; or NULL */
    uint64_t max_shard; /* bytes of tensor data per fresh file */
    lvlm_notes *notes;  /* receives what differs from the source; NULL: none */
} lvlm_export_options;

/* One file of the directory. */
typedef struct lvlm_export_file {
    const char *name;
    lvlm_plan plan;
} lvlm_export_file;

typedef struct lvlm_export lvlm_export;

/* Open the native file at `path` and plan the directory. LVLM_EFORMAT if `source` is
 * requested but impossible, because conversion rounded the values. On success free *out
 * with lvlm_export_free; after a failure it is NULL. */
LVLM_MUST_CHECK int lvlm_export_plan(lvlm_export **out, const char *path,
                                     const lvlm_export_options *options,
                                     lvlm_error *err);

/* What is planned, and the number of bytes of all files; borrowed. */
const lvlm_export_file *lvlm_export_files(size_t *n, uint64_t *n_bytes,
                                          const lvlm_export *ex);

/* How the files compare with the source's. */
typedef enum lvlm_exactness {
    LVLM_EXPORT_EXACT,   /* byte for byte the same */
    LVLM_EXPORT_CHANGED, /* the same except for values changed by training or merging */
    LVLM_EXPORT_FRESH,   /* others */
} lvlm_exactness;
lvlm_exactness lvlm_export_exactness(const lvlm_export *ex);

/* The effect on values of writing narrower types than the model's; valid after
 * lvlm_export_execute. */
lvlm_narrowing lvlm_export_narrowing(const lvlm_export *ex);

/* The files that loaders of a model read, for lvlm_outdir_open. */
extern const lvlm_outdir_set lvlm_model_set;

/* Write the directory and commit it. Every native tensor is compared with its digest
 * while it is read: LVLM_ECHECK names a corrupt one. Notes what the files cannot hold
 * of the model. */
LVLM_MUST_CHECK int lvlm_export_execute(lvlm_export *ex, lvlm_outdir *dir,
                                        const lvlm_run *run, lvlm_error *err);
void lvlm_export_free(lvlm_export *ex);

LVLM_END_DECLS

#endif
