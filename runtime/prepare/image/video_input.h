/* video_input.h - converts videos, given as images of their frames, to the tensors of
 * a family's Hugging Face processor.
 *
 *   clips -> frames that are used -> one size for all of a clip -> resized, normalised
 *         -> patches of two frames
 *
 *   pixel_values_videos  F32 [P, 3*frames*patch^2]
 *   video_grid_thw       I64 [N, 3]
 *   second_per_grid_ts   F32 [N], for models whose positions follow time
 *
 * Settings come from processor_config.json if it has a "video_processor", else from
 * video_preprocessor_config.json, else from preprocessor_config.json, like in
 * transformers; absent ones have the class default. All frames are used unless
 * do_sample_frames is true. Sides are multiples of patch * merge, and their product is
 * within the bounds of size; with cap_pixels_per_frame also within an equal share of
 * max_video_tokens. An incomplete patch repeats the last frame.
 *
 * Only one decoded frame is in memory at a time. One lvlm_video_input may be used from
 * many threads. */
#ifndef LVLM_RUNTIME_PREPARE_IMAGE_VIDEO_INPUT_H
#define LVLM_RUNTIME_PREPARE_IMAGE_VIDEO_INPUT_H

#include "runtime/prepare/image/clip.h"
#include "runtime/prepare/image/vision_input.h"

LVLM_BEGIN_DECLS

/* What becomes of a clip. */
typedef struct lvlm_video_note {
    const char *name;             /* its folder or first file */
    size_t n_given;               /* frames */
    size_t n_used;                /* of them */
    size_t width, height;         /* of each */
    size_t frames, rows, columns; /* of patches */
    size_t tokens;                /* its places in the text */
    double seconds;               /* per step of patches */
    uint64_t n_bytes;             /* of pixel_values_videos */
} lvlm_video_note;

/* Called while videos are read; members may be NULL. */
typedef struct lvlm_video_watch {
    /* before any memory is taken for them; a code below 0 ends the reading */
    int (*planned)(void *user, const lvlm_video_note *notes, size_t n, lvlm_error *err);
    /* bytes of pixel_values_videos, after each frame */
    void (*progress)(void *user, uint64_t done, uint64_t total);
    void *user;
} lvlm_video_watch;

/* Zero-initialise for defaults. */
typedef struct lvlm_video_options {
    lvlm_vision_options frames;
    double fps;        /* of a clip that does not say it; 0: 2, as in training */
    lvlm_notes *notes; /* on clips; must outlive the object */
    lvlm_video_watch watch;
} lvlm_video_options;

typedef struct lvlm_video_input lvlm_video_input;

/* Read the settings for a model; those that are not followed are noted with the
 * checkpoint. `options` may be NULL. LVLM_EFORMAT: the model takes no videos, has no
 * such file, or a value in it is invalid or does not match the tower. LVLM_EUSAGE: its
 * images are not padded to squares. *out is owned: lvlm_video_input_close; `manifest`
 * need not outlive it. */
LVLM_MUST_CHECK int lvlm_video_input_open(lvlm_video_input **out,
                                          const lvlm_manifest *manifest,
                                          const lvlm_video_options *options,
                                          lvlm_error *err);
void lvlm_video_input_close(lvlm_video_input *input);

typedef struct lvlm_video_batch {
    lvlm_vision_tensors tensors; /* as listed above */
    lvlm_video_note *notes;      /* (n) */
    size_t n;
} lvlm_video_batch;

/* Read the clips (n) of one or more texts, in order. LVLM_EFORMAT and LVLM_EIO name the
 * frame: one that cannot be read, or has another size than the first of its clip. Free
 * with lvlm_video_batch_free, also after a failure. */
LVLM_MUST_CHECK int lvlm_video_input_read(lvlm_video_batch *out,
                                          const lvlm_video_input *input,
                                          const lvlm_clip *const *clips, size_t n,
                                          lvlm_error *err);
void lvlm_video_batch_free(lvlm_video_batch *batch);

LVLM_END_DECLS

#endif
