/* image.h - an image file, or its bytes in memory, as RGB pixels.
 *
 *   JPEG (baseline, progressive, grey, CMYK, YCCK), PNG (every type and depth,
 *   interlaced; of an animation its default image), WebP (lossy, lossless, alpha; of an
 *   animation its first frame) -> rows of R, G, B from the top, one byte each
 *
 * Pixels equal those of Pillow's convert("RGB") bit for bit, oddities included: of
 * 16-bit grey every level above 255 is 255, of all other 16-bit samples the high byte
 * counts; a CMYK JPEG is read as inverted, whether Adobe's marker says so or not. A
 * JPEG whose data are damaged but not cut off decodes as far as libjpeg can, as it does
 * there.
 *
 * Distinct objects may be used from distinct threads. */
#ifndef LVLM_RUNTIME_INPUT_IMAGE_H
#define LVLM_RUNTIME_INPUT_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

/* What Pillow refuses to open as a decompression bomb starts above this. */
#define LVLM_IMAGE_MAX_PIXELS UINT64_C(178956970)
/* A JPEG cannot be longer, and a resized image takes memory in proportion to it. */
#define LVLM_IMAGE_MAX_SIDE UINT64_C(65535)
/* The most pixels in the least compact form: 8 bytes each, hardly compressed. */
#define LVLM_IMAGE_MAX_BYTES (UINT64_C(3) << 29)

typedef enum lvlm_alpha {
    LVLM_ALPHA_DROP,     /* the colours as they are stored */
    LVLM_ALPHA_ON_WHITE, /* laid on white */
} lvlm_alpha;

typedef struct lvlm_image_options {
    lvlm_alpha alpha;
    bool upright; /* turn as the EXIF orientation says; else it is ignored */
    uint64_t max_pixels, max_side, max_bytes; /* 0: as above */
} lvlm_image_options;

typedef struct lvlm_image {
    size_t width, height;
    unsigned char *pixels; /* (height,width,3); owned */
} lvlm_image;

/* Decode the file `path`, or `n_bytes` bytes that messages call `name`. `options` may
 * be NULL: alpha dropped, not turned. LVLM_EFORMAT: of no known kind, damaged, cut off,
 * or beyond a limit, with the name in front. Free with lvlm_image_free. */
LVLM_MUST_CHECK int lvlm_image_read(lvlm_image *out, const char *path,
                                    const lvlm_image_options *options, lvlm_error *err);
LVLM_MUST_CHECK int lvlm_image_decode(lvlm_image *out, const void *bytes,
                                      size_t n_bytes, const char *name,
                                      const lvlm_image_options *options,
                                      lvlm_error *err);
void lvlm_image_free(lvlm_image *image);

/* Memory for width * height pixels, undefined. LVLM_ENOMEM. */
LVLM_MUST_CHECK int lvlm_image_make(lvlm_image *out, size_t width, size_t height,
                                    lvlm_error *err);

LVLM_END_DECLS

#endif
