/* export_parts.h - what export.c and the two layouts share. Private to convert/. */
#ifndef LVLM_CONVERT_EXPORT_PARTS_H
#define LVLM_CONVERT_EXPORT_PARTS_H

#include "convert/export.h"

/* The recorded digest of a native tensor, or NULL. Borrowed. */
const char *lvlm_export_digest(const lvlm_export *export, const char *name);

/* Append a step that makes `out` (name, dtype, shape) from native tensors by name. */
LVLM_MUST_CHECK int lvlm_export_step(lvlm_export *export, lvlm_plan *plan,
                                     const lvlm_tensor *out,
                                     const lvlm_transform *transform,
                                     const char *const *parts, size_t n_parts,
                                     lvlm_error *err);

/* Append the tensor files of a layout to export->files. */
LVLM_MUST_CHECK int lvlm_export_source(lvlm_export *export, lvlm_error *err);
LVLM_MUST_CHECK int lvlm_export_fresh(lvlm_export *export, lvlm_error *err);

/* Fresh layouts: is this side file still true? */
bool lvlm_export_keeps_side_file(const lvlm_export *export, const char *name);
/* Fresh layouts: config.json naming the dtype that the weights now have, where
 * conversion changed it. */
LVLM_MUST_CHECK int lvlm_export_amend_config(lvlm_export *export, lvlm_error *err);

#endif
