/* import_frames.h - the bytes of a source file that are not in tensors. Private to
 * convert/. */
#ifndef LVLM_CONVERT_IMPORT_FRAMES_H
#define LVLM_CONVERT_IMPORT_FRAMES_H

#include "convert/import.h"

LVLM_BEGIN_DECLS

/* The size of a source file; if only its header was read, the size that the header
 * describes. */
uint64_t lvlm_import_file_bytes(const lvlm_checkpoint *source, size_t file);

/* Plan a tensor of all bytes of a source file that are outside of spans. A compressed
 * file has none. */
LVLM_MUST_CHECK int lvlm_import_frame(lvlm_import *import, size_t file,
                                      lvlm_error *err);

LVLM_END_DECLS

#endif
