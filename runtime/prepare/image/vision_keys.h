/* vision_keys.h - private to vision_settings.c: the keys of processors' files, and
 * notes on those that are not followed. */
#ifndef LVLM_RUNTIME_PREPARE_IMAGE_VISION_KEYS_H
#define LVLM_RUNTIME_PREPARE_IMAGE_VISION_KEYS_H

#include <cjson/cJSON.h>

#include "formats/base/notes.h"

LVLM_BEGIN_DECLS

typedef enum vision_keys_kind {
    VISION_KEYS_SQUARES,
    VISION_KEYS_CROPS, /* squares cut from the middle */
    VISION_KEYS_PATCHES,
    VISION_KEYS_TILES,
    VISION_KEYS_VIDEOS,
} vision_keys_kind;

/* Of the object with the settings of images, which messages call `file`. */
LVLM_MUST_CHECK int vision_keys_check(const cJSON *settings, const char *file,
                                      vision_keys_kind kind, lvlm_notes *notes,
                                      lvlm_error *err);
/* Of processor_config.json, around that object. */
LVLM_MUST_CHECK int vision_keys_check_around(const cJSON *json, lvlm_notes *notes,
                                             lvlm_error *err);

LVLM_END_DECLS

#endif
