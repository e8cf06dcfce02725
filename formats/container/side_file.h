/* side_file.h - parses the small files next to a model's weights.
 *
 * Errors begin with the file's name. Every function may be called from several threads
 * at once. */
#ifndef LVLM_FORMATS_CONTAINER_SIDE_FILE_H
#define LVLM_FORMATS_CONTAINER_SIDE_FILE_H

#include <cjson/cJSON.h>

#include "formats/container/contents.h"

LVLM_BEGIN_DECLS

/* The message for a Git LFS pointer. */
#define LVLM_POINTER_TEXT                                                              \
    "is a Git LFS pointer, not the file itself: \"git lfs pull\" fetches it"

/* Is this a Git LFS pointer, which a clone without git-lfs has in place of the file? */
bool lvlm_is_pointer(const void *bytes, size_t n_bytes);

/* Call before parsing a side file. LVLM_EFORMAT if it is a Git LFS pointer: the model
 * was converted from an incomplete clone. */
LVLM_MUST_CHECK int lvlm_side_file_check(const lvlm_side_file *file, lvlm_error *err);

/* A side file as JSON. *out is owned: lvlm_json_free. */
LVLM_MUST_CHECK int lvlm_side_file_parse(cJSON **out, const lvlm_side_file *file,
                                         lvlm_error *err);
/* The same by name; *out is NULL if there is none. */
LVLM_MUST_CHECK int lvlm_side_file_json(cJSON **out, const lvlm_checkpoint *checkpoint,
                                        const char *name, lvlm_error *err);

LVLM_END_DECLS

#endif
