/* vision_tensors.h - private to vision_input.c and video_input.c: tensors, levels as
 * numbers, an image as rows of patches. */
#ifndef LVLM_RUNTIME_PREPARE_IMAGE_VISION_TENSORS_H
#define LVLM_RUNTIME_PREPARE_IMAGE_VISION_TENSORS_H

#include "runtime/prepare/image/vision_settings.h"

LVLM_BEGIN_DECLS

/* One more tensor, of zeros. LVLM_ENOMEM names it. */
LVLM_MUST_CHECK int vision_tensors_add(void **values, lvlm_vision_tensors *to,
                                       const char *name, lvlm_dtype dtype,
                                       lvlm_shape shape, lvlm_error *err);

/* levels[c][v]: the value of level v of channel c. */
void vision_levels(float levels[3][256], const vision_settings *settings);

/* Copy an image of whole squares of merged patches to frame number `frame` of all its
 * patches; those that are merged are adjacent, row by row.
 * out (P,3,frames,patch,patch) */
void vision_patches_put(float *out, const float levels[3][256],
                        const vision_settings *settings, const lvlm_image *image,
                        size_t frame);

LVLM_END_DECLS

#endif
