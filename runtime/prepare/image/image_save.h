/* image_save.h - writes pixels to a PNG file. */
#ifndef LVLM_RUNTIME_PREPARE_IMAGE_IMAGE_SAVE_H
#define LVLM_RUNTIME_PREPARE_IMAGE_IMAGE_SAVE_H

#include "formats/base/outfile.h"
#include "runtime/prepare/image/image.h"

LVLM_BEGIN_DECLS

/* Write the file and commit it. The same pixels give the same bytes. */
LVLM_MUST_CHECK int lvlm_image_save(const lvlm_image *image, lvlm_outfile *file,
                                    lvlm_error *err);

LVLM_END_DECLS

#endif
