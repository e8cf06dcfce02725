/* message_video.h - private to messages and training data: videos in a conversation.
 *
 *   { "type": "video", "video": DIR or [FILE, ...], "fps": N } */
#ifndef LVLM_RUNTIME_PREPARE_PROMPT_MESSAGE_VIDEO_H
#define LVLM_RUNTIME_PREPARE_PROMPT_MESSAGE_VIDEO_H

#include <cjson/cJSON.h>

#include "runtime/prepare/image/clip.h"

LVLM_BEGIN_DECLS

/* What says the size of one picture or video (a row of keys.h). */
#define MESSAGE_SIZE_KEYS                                                              \
    "min_pixels|max_pixels|total_pixels|resized_height|resized_width"

/* Read such an object; without frames *out has no files. Errors begin with `where`;
 * notes, and errors of keys, with "videos". LVLM_EFORMAT. `arena` holds *out and what
 * it points to. */
LVLM_MUST_CHECK int message_video_read(const lvlm_clip **out, const cJSON *item,
                                       const char *where, lvlm_arena *arena,
                                       lvlm_notes *notes, lvlm_error *err);

/* A folder, or a list of files. */
LVLM_MUST_CHECK int message_video_files(lvlm_clip *out, const cJSON *item,
                                        const char *where, lvlm_arena *arena,
                                        lvlm_error *err);

/* Frames a second; NULL or null: not said. */
LVLM_MUST_CHECK int message_video_fps(double *out, const cJSON *item, const char *where,
                                      lvlm_error *err);

LVLM_END_DECLS

#endif
