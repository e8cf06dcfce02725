/* image.h - an image file, or its bytes in memory, as RGB pixels.
 *
 *   JPEG (baseline, progressive, grey, CMYK, YCCK), PNG (every type and depth,
 *   interlaced; of an animation its default image), WebP (lossy, lossless, alpha; of an
 *   animation its first frame) -> rows of R, G, B from the top, one byte each
 *
 * Pixels equal those of Pillow's convert("RGB") bit for bit, oddities included: 16-bit
 * grey levels above 255 become 255, other 16-bit samples use the high byte; a CMYK JPEG
 * is read as inverted, with or without Adobe's marker. A JPEG with damaged but not
 * truncated data is decoded as far as libjpeg can, as in Pillow. The orientation in
 * EXIF data is ignored, as in the reference's processors.
 *
 * Distinct objects may be used from distinct threads. */
#ifndef LVLM_RUNTIME_PREPARE_IMAGE_IMAGE_H
#define LVLM_RUNTIME_PREPARE_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/container/tar.h"

LVLM_BEGIN_DECLS

/* Pillow refuses larger images as decompression bombs. */
#define LVLM_IMAGE_MAX_PIXELS UINT64_C(178956970)
/* A JPEG cannot be longer, and a resized image takes memory in proportion to it. */
#define LVLM_IMAGE_MAX_SIDE UINT64_C(65535)
/* The largest image in the least compact form: 8 bytes per pixel, hardly compressed. */
#define LVLM_IMAGE_MAX_BYTES (UINT64_C(3) << 29)

typedef enum lvlm_alpha {
    LVLM_ALPHA_DROP,     /* colours as stored */
    LVLM_ALPHA_ON_WHITE, /* blended with white */
} lvlm_alpha;

typedef struct lvlm_image_options {
    lvlm_alpha alpha;
    uint64_t max_pixels, max_side, max_bytes; /* 0: as above */
    const lvlm_tar_index *tars; /* of those that many paths lead into; NULL: none */
} lvlm_image_options;

typedef struct lvlm_image {
    size_t width, height;
    unsigned char *pixels; /* (height,width,3); owned */
} lvlm_image;

/* Decode the file `path`, which may lead into a tar (tar.h), or `n_bytes` bytes that
 * messages call `name`. `options` may be NULL: alpha dropped. LVLM_EFORMAT: unknown
 * kind, damaged, truncated or over a limit; begins with the name. Free with
 * lvlm_image_free. */
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
