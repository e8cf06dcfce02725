/* import_frames.h - what a source file holds besides tensors. Private to convert/. */
#ifndef LVLM_CONVERT_IMPORT_FRAMES_H
#define LVLM_CONVERT_IMPORT_FRAMES_H

#include "convert/import.h"

LVLM_BEGIN_DECLS

/* Bytes of a source file, also when only its header is there: then those that the
 * header describes. */
uint64_t lvlm_import_file_bytes(const lvlm_checkpoint *source, size_t file);

/* Plan a tensor of all bytes of a source file that are not in a tensor's span. A
 * compressed file has none. */
LVLM_MUST_CHECK int lvlm_import_frame(lvlm_import *import, size_t file,
                                      lvlm_error *err);

LVLM_END_DECLS

#endif
