/* part_files.h - which side files belong to which part of a model. Every function may
 * be called from several threads at once. */
#ifndef LVLM_CONVERT_PART_FILES_H
#define LVLM_CONVERT_PART_FILES_H

#include "formats/container/contents.h"

LVLM_BEGIN_DECLS

/* Of "vision": how pictures become pixels. Of "text": its tokenizer, and how it
 * generates. The list ends with NULL; static. */
const char *const *lvlm_part_files(const char *part);

/* The settings of its picture processor: preprocessor_config.json, or the part of
 * processor_config.json that newer versions of transformers write. *out is owned
 * (lvlm_json_free); NULL: there are none. */
LVLM_MUST_CHECK int lvlm_part_pictures(cJSON **out, const lvlm_checkpoint *from,
                                       lvlm_error *err);

LVLM_END_DECLS

#endif
