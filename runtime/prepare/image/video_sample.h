/* video_sample.h - private to video_input.c: which frames of a video are used.
 *
 *   all of them, unless the processor samples: then N, or as many as there are at a
 *   rate, at least `least`, at most `most`, in even steps */
#ifndef LVLM_RUNTIME_PREPARE_IMAGE_VIDEO_SAMPLE_H
#define LVLM_RUNTIME_PREPARE_IMAGE_VIDEO_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "formats/base/arena.h"

LVLM_BEGIN_DECLS

typedef struct video_sampling {
    bool on;
    double fps; /* frames a second that are used; 0: `n` says how many */
    uint64_t n; /* 0: `fps` does */
    uint64_t least, most;
} video_sampling;

/* What only videos have. */
typedef struct video_settings {
    video_sampling sampling;
    bool capped;         /* frames share the pixels of ... */
    uint64_t max_tokens; /* ... nine tenths of these */
} video_settings;

/* Indices into `total` frames, at least 1, of which there are `fps` a second (0: not
 * said); a multiple of `step` if they are sampled. `arena` holds *out (n).
 * LVLM_EFORMAT: the reference refuses it. Where rounding makes the reference ask for a
 * frame after the last one, and fail, it is left out. */
LVLM_MUST_CHECK int video_sample(size_t **out, size_t *n, const video_sampling *s,
                                 size_t step, size_t total, double fps,
                                 lvlm_arena *arena, lvlm_error *err);

LVLM_END_DECLS

#endif
