/* export_parts.h - what export.c and the two layouts share. Private to convert/. */
#ifndef LVLM_CONVERT_EXPORT_PARTS_H
#define LVLM_CONVERT_EXPORT_PARTS_H

#include "convert/export.h"

LVLM_BEGIN_DECLS

struct lvlm_export {
    lvlm_checkpoint *model;
    lvlm_manifest manifest;
    lvlm_export_options options;
    lvlm_export_file *files;
    size_t n_files, capacity;
    uint64_t n_bytes;   /* of all files */
    bool changed;       /* values differ from those that were converted */
    bool reshaped;      /* shapes do */
    bool changed_dtype; /* conversion stored the weights as another type */
    bool added_config;  /* config.json was derived, the source had none */
    bool is_makers;     /* the source was a LLaVA as its makers save it */
    /* `source` was requested but is written as safetensors with the source's names:
     * values have changed, and a .bin can be rebuilt only with its original ones; or
     * shapes have, and no file can be rebuilt */
    bool rewritten_as_safetensors;
    lvlm_arena arena;
};

/* Append a step that builds entry->source (name, dtype, shape) from its targets. */
LVLM_MUST_CHECK int export_step(lvlm_export *ex, lvlm_plan *plan,
                                const lvlm_ledger_entry *entry, lvlm_error *err);

/* Append an empty file; *file is valid until the next call. Its name, which may be NULL
 * for out of memory, must outlive the export; no other file has it. */
LVLM_MUST_CHECK int export_add_file(lvlm_export_file **file, lvlm_export *ex,
                                    const char *name, lvlm_error *err);
/* Append a file with a copy of this text. */
LVLM_MUST_CHECK int export_add_text(lvlm_export *ex, const char *name, const char *text,
                                    lvlm_error *err);

/* Append the tensor files of a layout to export->files. */
LVLM_MUST_CHECK int export_source(lvlm_export *ex, lvlm_error *err);
/* Append the source's files without tensors, but for an index of its weights. */
LVLM_MUST_CHECK int export_source_side_files(lvlm_export *ex, lvlm_error *err);
/* Is file number `file` of the ledger of another folder than the makers'? */
bool export_is_elsewhere(const lvlm_export *ex, size_t file);
LVLM_MUST_CHECK int export_fresh(lvlm_export *ex, lvlm_error *err);

/* ---- export_part.c: one part of the model; without options.part all of it ---- */

/* Is a tensor of that native name, or a side file, in it? */
bool export_part_has(const lvlm_export *ex, const char *canonical);
bool export_part_keeps(const lvlm_export *ex, const char *side_file);
/* Append the settings of its processor of pictures, if no side file has them. */
LVLM_MUST_CHECK int export_part_pictures(lvlm_export *ex, lvlm_error *err);
/* The part's own name of a tensor of the hub's layout; NULL: out of memory. */
const char *export_part_name(lvlm_export *ex, const char *hub_name);
/* Its config.json from the model's, `side`. LVLM_EFORMAT: transformers has no class for
 * it. *text is owned: lvlm_free. */
LVLM_MUST_CHECK int export_part_config(char **text, const lvlm_export *ex,
                                       const lvlm_side_file *side, lvlm_error *err);

/* Fresh layouts: the config.json that matches the weights as written; *text is NULL if
 * `side`, the source's, matches, else owned (lvlm_free). */
LVLM_MUST_CHECK int export_config(char **text, const lvlm_export *ex,
                                  const lvlm_side_file *side, lvlm_error *err);

LVLM_END_DECLS

#endif
