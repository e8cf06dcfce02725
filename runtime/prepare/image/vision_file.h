/* vision_file.h - private to vision_settings.c: where the settings of a processor are
 * among a model's files. */
#ifndef LVLM_RUNTIME_PREPARE_IMAGE_VISION_FILE_H
#define LVLM_RUNTIME_PREPARE_IMAGE_VISION_FILE_H

#include <cjson/cJSON.h>

#include "formats/checkpoint/checkpoint.h"

LVLM_BEGIN_DECLS

/* *object is in *json, which is owned: lvlm_json_free, also after a failure; *name is
 * what messages call it. Those for videos may be in the file for images. LVLM_EFORMAT:
 * there is none. */
LVLM_MUST_CHECK int vision_file_find(const cJSON **object, cJSON **json,
                                     const char **name,
                                     const lvlm_checkpoint *checkpoint, bool videos,
                                     lvlm_error *err);

LVLM_END_DECLS

#endif
