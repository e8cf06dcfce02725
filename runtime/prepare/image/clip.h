/* clip.h - a video as images of its frames.
 *
 *   a folder of images, or a list of them -> the files of the frames, in order */
#ifndef LVLM_RUNTIME_PREPARE_IMAGE_CLIP_H
#define LVLM_RUNTIME_PREPARE_IMAGE_CLIP_H

#include "formats/base/arena.h"
#include "formats/base/notes.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_clip {
    const char *const *files; /* (n_files) images in order, or one folder of them */
    size_t n_files;           /* 0: not named yet */
    double fps;               /* frames a second, as they are there; 0: not said */
} lvlm_clip;

/* A copy whose files are in `arena`, or NULL: out of memory. */
lvlm_clip *lvlm_clip_copy(const lvlm_clip *clip, lvlm_arena *arena);

/* *out is the clip with a folder replaced by the files in it, ordered bytewise by their
 * names; names that begin with a dot are left out. A note says where that order is not
 * the order of the numbers in the names. `arena` holds what *out points to. LVLM_EIO:
 * there is no such file or folder; LVLM_EFORMAT: an empty folder, or one among
 * files. */
LVLM_MUST_CHECK int lvlm_clip_frames(lvlm_clip *out, const lvlm_clip *clip,
                                     lvlm_arena *arena, lvlm_notes *notes,
                                     lvlm_error *err);

LVLM_END_DECLS

#endif
