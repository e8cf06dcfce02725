/* video_settings.h - private to vision_settings.c: what only a video processor has. */
#ifndef LVLM_RUNTIME_PREPARE_IMAGE_VIDEO_SETTINGS_H
#define LVLM_RUNTIME_PREPARE_IMAGE_VIDEO_SETTINGS_H

#include "runtime/prepare/image/vision_file.h"
#include "runtime/prepare/image/vision_settings.h"

LVLM_BEGIN_DECLS

/* The defaults of the class, where they are not those for images. */
void video_settings_init(vision_settings *out);

LVLM_MUST_CHECK int video_settings_read(video_settings *out, const vision_file *file,
                                        lvlm_error *err);

LVLM_END_DECLS

#endif
