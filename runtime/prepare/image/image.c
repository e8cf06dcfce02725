/* image.c - decodes a file to RGB: kind, limits, transparency; see image.h. */
#include "runtime/prepare/image/image.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/infile.h"
#include "formats/base/size.h"
#include "formats/container/tar.h"
#include "runtime/prepare/image/image_codec.h"

static const image_codec *const codecs[] = { &jpeg_codec, &png_codec, &webp_codec,
                                             NULL };

int lvlm_image_make(lvlm_image *out, size_t width, size_t height, lvlm_error *err)
{
    uint64_t n_bytes;
    assert(width > 0 && height > 0);
    *out = (lvlm_image){ .width = width, .height = height };
    if (lvlm_mul_u64(&n_bytes, width, height) && lvlm_mul_u64(&n_bytes, n_bytes, 3) &&
        n_bytes <= SIZE_MAX)
        out->pixels = lvlm_malloc((size_t)n_bytes);
    FAIL_IF(out->pixels == NULL, err, LVLM_ENOMEM,
            "out of memory for an image of %zu x %zu pixels", width, height);
    return 0;
}

void lvlm_image_free(lvlm_image *image)
{
    if (image == NULL) return;
    lvlm_free(image->pixels);
    *image = (lvlm_image){ 0 };
}

int picture_make(picture *out, uint64_t width, uint64_t height, size_t channels,
                 const image_bytes *file, lvlm_error *err)
{
    const lvlm_image_options *const limits = file->options;
    uint64_t n;
    FAIL_IF(width == 0 || height == 0, err, LVLM_EFORMAT,
            "has %" PRIu64 " x %" PRIu64 " pixels", width, height);
    FAIL_IF(width > limits->max_side || height > limits->max_side, err, LVLM_EFORMAT,
            "has %" PRIu64 " x %" PRIu64 " pixels, at most %" PRIu64
            " on a side are taken",
            width, height, limits->max_side);
    FAIL_IF(!lvlm_mul_u64(&n, width, height) || n > limits->max_pixels, err,
            LVLM_EFORMAT,
            "has %" PRIu64 " x %" PRIu64 " pixels, at most %" PRIu64 " are taken",
            width, height, limits->max_pixels);
    *out = (picture){ .width = (size_t)width,
                      .height = (size_t)height,
                      .channels = channels };
    if (lvlm_mul_u64(&n, n, channels) && n <= SIZE_MAX)
        out->pixels = lvlm_malloc((size_t)n);
    FAIL_IF(out->pixels == NULL, err, LVLM_ENOMEM,
            "out of memory for %" PRIu64 " x %" PRIu64 " pixels", width, height);
    return 0;
}

/* ---- transparency --------------------------------------------------------------- */

/* Blend a level with white, rounded like Pillow: weights with 7 more bits. */
static unsigned char on_white(unsigned level, unsigned alpha)
{
    enum { BITS = 7 };
    const unsigned w = alpha * 255 * 255 * (1u << BITS) / (255 * 255);
    const unsigned sum = level * w + 255 * ((255u << BITS) - w) + (128u << BITS);
    return (unsigned char)(((sum >> 8) + sum) >> 8 >> BITS);
}

/* Convert four channels to three, in place. */
static void leave_rgb(picture *image, lvlm_alpha alpha)
{
    const size_t n = image->width * image->height;
    assert(image->channels == 4);
    unsigned char *const to = image->pixels;
    const unsigned char *const from = image->pixels;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++)
            to[3 * i + c] = alpha == LVLM_ALPHA_DROP
                                ? from[4 * i + c]
                                : on_white(from[4 * i + c], from[4 * i + 3]);
    image->channels = 3;
}

/* ---- from bytes ----------------------------------------------------------------- */

static int decode(picture *out, const image_bytes *file, lvlm_error *err)
{
    FAIL_IF(file->n_bytes > file->options->max_bytes, err, LVLM_EFORMAT,
            "has %zu bytes, at most %" PRIu64 " are taken", file->n_bytes,
            file->options->max_bytes);
    size_t i = 0;
    while (codecs[i] != NULL && !codecs[i]->recognises(file)) i++;
    FAIL_IF(codecs[i] == NULL, err, LVLM_EFORMAT,
            "is not an image that can be read: not a JPEG, PNG or WebP file");
    const int rc = codecs[i]->decode(out, file, err);
    if (rc < 0) lvlm_prefix(err, "%s: ", codecs[i]->name);
    return rc;
}

static uint64_t or_default(uint64_t limit, uint64_t fallback)
{
    return limit != 0 ? limit : fallback;
}

int lvlm_image_decode(lvlm_image *out, const void *bytes, size_t n_bytes,
                      const char *name, const lvlm_image_options *options,
                      lvlm_error *err)
{
    lvlm_image_options with = options != NULL ? *options : (lvlm_image_options){ 0 };
    with.max_pixels = or_default(with.max_pixels, LVLM_IMAGE_MAX_PIXELS);
    with.max_side = or_default(with.max_side, LVLM_IMAGE_MAX_SIDE);
    with.max_bytes = or_default(with.max_bytes, LVLM_IMAGE_MAX_BYTES);
    const image_bytes file = { bytes, n_bytes, &with };
    picture image = { 0 };
    *out = (lvlm_image){ 0 };
    int rc = decode(&image, &file, err);
    if (rc == 0 && image.channels == 4) leave_rgb(&image, with.alpha);
    if (rc < 0) {
        lvlm_free(image.pixels);
        lvlm_prefix(err, "%s: ", name);
        return rc;
    }
    *out = (lvlm_image){ image.width, image.height, image.pixels };
    return 0;
}

static int decode_member(lvlm_image *out, const lvlm_infile *file,
                         const lvlm_tar_member *in, const char *path,
                         const lvlm_image_options *options, lvlm_error *err)
{
    const unsigned char *const bytes =
        in->n_bytes > 0 ? file->bytes + in->offset : NULL;
    return lvlm_image_decode(out, bytes, (size_t)in->n_bytes, path, options, err);
}

int lvlm_image_read(lvlm_image *out, const char *path,
                    const lvlm_image_options *options, lvlm_error *err)
{
    lvlm_infile *file = NULL;
    lvlm_tar_member in = { .offset = 0 };
    *out = (lvlm_image){ 0 };
    const lvlm_tar_index *const tar =
        lvlm_tar_index_find(&in, options != NULL ? options->tars : NULL, path);
    if (tar != NULL) {
        const int rc = decode_member(out, tar->file, &in, path, options, err);
        lvlm_infile_done_with(tar->file, in.offset, in.n_bytes);
        return rc;
    }
    if (lvlm_tar_inside(path) != NULL) {
        TRY(lvlm_tar_open(&file, &in, path, err));
    } else {
        TRY(lvlm_infile_open(&file, path, err));
        in.n_bytes = file->n_bytes;
    }
    const int rc = decode_member(out, file, &in, path, options, err);
    lvlm_infile_close(file);
    return rc;
}
