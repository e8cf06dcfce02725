/* part_files.h - which side files belong to which part of a model. Every function may
 * be called from several threads at once. */
#ifndef LVLM_CONVERT_PART_FILES_H
#define LVLM_CONVERT_PART_FILES_H

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

/* Of "vision": how pictures become pixels. Of "text": its tokenizer, and how it
 * generates. The list ends with NULL; static. */
const char *const *lvlm_part_files(const char *part);

LVLM_END_DECLS

#endif
