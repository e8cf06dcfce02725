/* image_codec.h - private to image decoding: the interface of a codec.
 *
 *   bytes -> image_jpeg.c | image_png.c | image_webp.c -> picture -> image.c -> RGB */
#ifndef LVLM_RUNTIME_PREPARE_IMAGE_IMAGE_CODEC_H
#define LVLM_RUNTIME_PREPARE_IMAGE_IMAGE_CODEC_H

#include "runtime/prepare/image/image.h"

LVLM_BEGIN_DECLS

/* The bytes of one file. */
typedef struct image_bytes {
    const unsigned char *bytes;
    size_t n_bytes;
    const lvlm_image_options *options; /* limits filled in */
} image_bytes;

typedef struct picture {
    size_t width, height;
    size_t channels;       /* 3: RGB, 4: RGBA */
    unsigned char *pixels; /* (height,width,channels) */
} picture;

typedef struct image_codec {
    const char *name;
    bool (*recognises)(const image_bytes *file);
    /* The caller frees out->pixels, also after a failure. Messages do not name the
     * file. */
    int (*decode)(picture *out, const image_bytes *file, lvlm_error *err);
} image_codec;

extern const image_codec jpeg_codec;
extern const image_codec png_codec;
extern const image_codec webp_codec;

/* Check the size against the limits and allocate the pixels. */
LVLM_MUST_CHECK int picture_make(picture *out, uint64_t width, uint64_t height,
                                 size_t channels, const image_bytes *file,
                                 lvlm_error *err);

LVLM_END_DECLS

#endif
