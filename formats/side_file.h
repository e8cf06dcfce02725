/* side_file.h - the small files beside a model's weights, as they are parsed.
 *
 * Errors begin with the file's name. */
#ifndef LVLM_FORMATS_SIDE_FILE_H
#define LVLM_FORMATS_SIDE_FILE_H

#include <cjson/cJSON.h>

#include "formats/checkpoint.h"

LVLM_BEGIN_DECLS

/* Of a file that is a Git LFS pointer. */
#define LVLM_POINTER_TEXT                                                              \
    "is a Git LFS pointer, not the file itself: \"git lfs pull\" fetches it"

/* Are these the small text that a clone without git-lfs holds in place of a file? */
bool lvlm_is_pointer(const void *bytes, size_t n_bytes);

/* Must come before a side file is parsed. LVLM_EFORMAT when it is a Git LFS pointer:
 * the model was converted before the file was there. */
LVLM_MUST_CHECK int lvlm_side_file_check(const lvlm_side_file *file, lvlm_error *err);

/* A side file as JSON. *out is owned: lvlm_json_free. */
LVLM_MUST_CHECK int lvlm_side_file_parse(cJSON **out, const lvlm_side_file *file,
                                         lvlm_error *err);
/* The one of this name; *out is NULL where there is none. */
LVLM_MUST_CHECK int lvlm_side_file_json(cJSON **out, const lvlm_checkpoint *checkpoint,
                                        const char *name, lvlm_error *err);

LVLM_END_DECLS

#endif
