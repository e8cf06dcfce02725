/* vision_patches.h - private to vision_input.c and video_input.c: an image as rows of
 * patches. */
#ifndef LVLM_RUNTIME_PREPARE_IMAGE_VISION_PATCHES_H
#define LVLM_RUNTIME_PREPARE_IMAGE_VISION_PATCHES_H

#include "runtime/prepare/image/vision_settings.h"

LVLM_BEGIN_DECLS

/* Copy an image of whole squares of merged patches to frame number `frame` of all its
 * patches; those that are merged are adjacent, row by row.
 * out (P,3,frames,patch,patch) */
void vision_patches_put(float *out, const float levels[3][256],
                        const vision_settings *settings, const lvlm_image *image,
                        size_t frame);

LVLM_END_DECLS

#endif
