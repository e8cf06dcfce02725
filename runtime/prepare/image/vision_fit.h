/* vision_fit.h - private to vision_input.c and video_input.c: the size that an
 * image is resized to. */
#ifndef LVLM_RUNTIME_PREPARE_IMAGE_VISION_FIT_H
#define LVLM_RUNTIME_PREPARE_IMAGE_VISION_FIT_H

#include "runtime/prepare/image/vision_settings.h"

LVLM_BEGIN_DECLS

typedef struct vision_fit {
    lvlm_window pad;      /* the square it is put in before; width 0: none */
    size_t width, height; /* of the resized image */
    lvlm_window keep;     /* what of that is kept; width 0: everything */
    lvlm_window at;       /* the square that is put in then; width 0: it fills it */
    size_t rows, columns; /* of patches, of tiles; of squares 1, 1 */
    size_t tokens;        /* as in lvlm_image_note */
    size_t aspect_id; /* tiles: 1 + the index of (rows, columns) among all; else 0 */
} vision_fit;

/* For an image of width x height pixels. LVLM_EFORMAT: the processor refuses it. */
LVLM_MUST_CHECK int vision_fit_find(vision_fit *out, const vision_settings *settings,
                                    size_t width, size_t height, lvlm_error *err);

LVLM_END_DECLS

#endif
