/* image_save.h - pixels into a PNG file. */
#ifndef LVLM_RUNTIME_INPUT_IMAGE_SAVE_H
#define LVLM_RUNTIME_INPUT_IMAGE_SAVE_H

#include "runtime/input/image.h"

/* Write `path`, which appears whole or not at all; an existing one is LVLM_EUSAGE
 * unless `overwrite`. The same pixels give the same bytes. */
LVLM_MUST_CHECK int lvlm_image_save(const lvlm_image *image, const char *path,
                                    bool overwrite, lvlm_error *err);

#endif
