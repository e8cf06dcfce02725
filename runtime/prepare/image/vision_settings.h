/* vision_settings.h - private to this folder: settings of the processor of images, or
 * of videos.
 *
 * One row per processor, which families name: its class, defaults and differences. */
#ifndef LVLM_RUNTIME_PREPARE_IMAGE_VISION_SETTINGS_H
#define LVLM_RUNTIME_PREPARE_IMAGE_VISION_SETTINGS_H

#include "formats/checkpoint/manifest.h"
#include "runtime/batch/inputs.h"
#include "runtime/prepare/image/video_sample.h"
#include "runtime/prepare/image/vision_input.h"

LVLM_BEGIN_DECLS

/* How levels 0 to 255 become numbers. */
typedef enum vision_scaling {
    VISION_SCALE_MULTIPLY, /* level * factor in double, to float; (x - mean) / std */
    VISION_SCALE_DIVIDE,   /* level / 255 in float; the same */
    VISION_SCALE_FUSED,    /* (level - mean/factor) / (std/factor) */
} vision_scaling;

typedef struct vision_settings {
    lvlm_input_spec model; /* the model's input */
    bool resize, rescale, normalize;
    lvlm_filter filter;
    vision_scaling scaling;
    double factor, mean[3], std[3];
    lvlm_alpha alpha;
    lvlm_resampling resampling;
    uint64_t side; /* squares and tiles */
    /* squares: padded to a square first; the shorter side, or both, become `edge`; the
     * middle is cut out. Without a crop, edge is side or 0. */
    bool pad, by_edge, crop;
    uint64_t edge;
    uint64_t min_pixels, max_pixels; /* patches */
    uint64_t patch, frames, merge;   /* patches */
    uint64_t tiles;                  /* tiles */
    video_settings videos;
} vision_settings;

/* Read for a model's images, or its videos; errors as in lvlm_vision_input_open, and in
 * lvlm_video_input_open. */
LVLM_MUST_CHECK int vision_settings_read(vision_settings *out,
                                         const lvlm_manifest *manifest,
                                         const lvlm_vision_options *options,
                                         bool videos, lvlm_error *err);

LVLM_END_DECLS

#endif
