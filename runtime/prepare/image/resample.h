/* resample.h - resizes an image, bit for bit like one of two libraries.
 *
 * All filter one axis, round to bytes, then filter the other; an axis of unchanged size
 * is not filtered. When shrinking, the filter is widened by the factor (antialiasing).
 * Weights are computed in double and rounded to integers; there they differ:
 *
 *   pillow       Image.resize of Pillow 13: 22 bits; across first, unless the height
 *                shrinks by over twice as many pixels as the width does
 *   pillow-12    of Pillow up to 12.1: 22 bits, across first (12.2 and 12.3 make an
 *                exception, down first, of images over 100 times as high as wide)
 *   torchvision  its resize of uint8 tensors on a CPU with AVX2 (torch's antialiased
 *                interpolation): across first, as many bits as fit 16-bit weights, axis
 *                by axis
 *
 * Between any two of them, few levels differ, and those by one or, when enlarging,
 * two. */
#ifndef LVLM_RUNTIME_PREPARE_IMAGE_RESAMPLE_H
#define LVLM_RUNTIME_PREPARE_IMAGE_RESAMPLE_H

#include "runtime/prepare/image/image.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_resampling {
    LVLM_RESAMPLING_PILLOW,
    LVLM_RESAMPLING_PILLOW_12,
    LVLM_RESAMPLING_TORCHVISION,
} lvlm_resampling;

typedef enum lvlm_filter {
    LVLM_FILTER_BILINEAR,
    LVLM_FILTER_BICUBIC, /* a = -0.5 */
} lvlm_filter;

/* A rectangle of an image. */
typedef struct lvlm_window {
    size_t x, y, width, height;
} lvlm_window;

typedef struct lvlm_resize {
    size_t width, height;
    lvlm_filter filter;
    lvlm_resampling resampling;
    lvlm_window keep; /* what of that is computed; width 0: everything */
} lvlm_resize;

/* *out is a new image of the size in `to`, or what it keeps of that; `in` is unchanged.
 * Sizes are at least 1. Memory is taken for what is kept only. LVLM_ENOMEM. Free with
 * lvlm_image_free. */
LVLM_MUST_CHECK int lvlm_image_resize(lvlm_image *out, const lvlm_image *in,
                                      const lvlm_resize *to, lvlm_error *err);

/* *out is a new image of the size of `at`, of one colour, with `in` at its x and y,
 * where it must fit. LVLM_ENOMEM. Free with lvlm_image_free. */
LVLM_MUST_CHECK int lvlm_image_place(lvlm_image *out, const lvlm_image *in,
                                     const lvlm_window *at,
                                     const unsigned char colour[3], lvlm_error *err);

LVLM_END_DECLS

#endif
