/* example_video.h - private to example.c: the videos of a line of training data.
 *
 *   "video": CLIP, or a list of one for each <video>   (or "videos")
 *   "fps": N, or a list of one for each
 *
 * A CLIP is a folder of frames, a list of files, or { "video": DIR or [FILE, ...],
 * "fps": N }. Where the text has one <video>, a list of files is that one's frames. */
#ifndef LVLM_RUNTIME_TUNE_DATA_EXAMPLE_VIDEO_H
#define LVLM_RUNTIME_TUNE_DATA_EXAMPLE_VIDEO_H

#include <cjson/cJSON.h>

#include "runtime/prepare/image/clip.h"

LVLM_BEGIN_DECLS

typedef struct example_videos {
    const char *key; /* "video" or "videos" */
    lvlm_clip *at;   /* (n) */
    size_t n;
} example_videos;

/* Those of the line `json`, whose text has <video> n_places times; *out is in `arena`.
 * LVLM_EFORMAT names the key. */
LVLM_MUST_CHECK int example_videos_read(example_videos *out, const cJSON *json,
                                        size_t n_places, lvlm_arena *arena,
                                        lvlm_notes *notes, lvlm_error *err);

LVLM_END_DECLS

#endif
