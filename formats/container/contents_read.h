/* contents_read.h - reads files into the contents of a checkpoint. Private to
 * formats/. */
#ifndef LVLM_FORMATS_CONTAINER_CONTENTS_READ_H
#define LVLM_FORMATS_CONTAINER_CONTENTS_READ_H

#include "formats/container/contents.h"

LVLM_BEGIN_DECLS

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

/* Free it all except cp->native. */
void checkpoint_free(lvlm_checkpoint *cp);

LVLM_END_DECLS

#endif
