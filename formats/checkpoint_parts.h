/* checkpoint_parts.h - what the sources of checkpoint.h share. Private to formats/. */
#ifndef LVLM_FORMATS_CHECKPOINT_PARTS_H
#define LVLM_FORMATS_CHECKPOINT_PARTS_H

#include "formats/checkpoint.h"

LVLM_BEGIN_DECLS

/* ---- checkpoint_tensors.c ---- */

/* Map `path`, called `name`, and read its tensors. `files` has room and is zeroed. */
int checkpoint_add_file(lvlm_checkpoint *cp, const char *path, const char *name,
                        lvlm_error *err);
/* The same for the only file of a checkpoint, and sort its names. */
int checkpoint_add_single(lvlm_checkpoint *cp, const char *path, const char *name,
                          lvlm_error *err);
int checkpoint_add_safetensors(lvlm_checkpoint *cp, const lvlm_infile *map,
                               lvlm_error *err);
/* Sort the tensors by name. */
int checkpoint_index_names(lvlm_checkpoint *cp, lvlm_error *err);
/* LVLM_EFORMAT for a Git LFS pointer in place of the file. */
int checkpoint_refuse_pointer(const lvlm_infile *map, lvlm_error *err);
bool checkpoint_is_npz(const char *name);

/* ---- checkpoint_directory.c ---- */

/* Open the Hugging Face directory at cp->path. */
int checkpoint_open_directory(lvlm_checkpoint *cp, lvlm_error *err);
/* If config.json shows that the model is not supported, report that instead of `rc`. */
int checkpoint_judge_config(const lvlm_checkpoint *cp, int rc, lvlm_error *err);
/* Does a file of that name hold weights? It is never kept as a side file then. */
bool checkpoint_holds_weights(const char *name);

LVLM_END_DECLS

#endif
