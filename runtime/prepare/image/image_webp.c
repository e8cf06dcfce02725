/* image_webp.c - WebP by libwebp's decoder of animations, like Pillow: a still image is
 * an animation with one frame. */
#include <assert.h>
#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

#include "runtime/prepare/image/image_codec.h"

static int check_features(WebPBitstreamFeatures *out, const image_bytes *file,
                          lvlm_error *err)
{
    const VP8StatusCode status = WebPGetFeatures(file->bytes, file->n_bytes, out);
    FAIL_IF(status == VP8_STATUS_NOT_ENOUGH_DATA, err, LVLM_EFORMAT,
            "is cut off: the header ends early");
    FAIL_IF(status != VP8_STATUS_OK, err, LVLM_EFORMAT, "is damaged: bad header");
    FAIL_IF(out->width <= 0 || out->height <= 0, err, LVLM_EFORMAT,
            "is damaged: it has no pixels");
    return 0;
}

/* The canvas always has four channels. */
static int read_frame(picture *out, WebPAnimDecoder *decoder, lvlm_error *err)
{
    WebPAnimInfo info;
    unsigned char *canvas = NULL;
    int timestamp;
    assert(out->channels == 3 || out->channels == 4);
    FAIL_IF(!WebPAnimDecoderGetInfo(decoder, &info) ||
                info.canvas_width != out->width || info.canvas_height != out->height,
            err, LVLM_EFORMAT, "is damaged: it has two sizes");
    FAIL_IF(!WebPAnimDecoderGetNext(decoder, &canvas, &timestamp), err, LVLM_EFORMAT,
            "is damaged or cut off: the first frame does not decode");
    for (size_t i = 0; i < out->width * out->height; i++)
        memcpy(out->pixels + i * out->channels, canvas + i * 4, out->channels);
    return 0;
}

static int decode_webp(picture *out, const image_bytes *file, lvlm_error *err)
{
    WebPBitstreamFeatures features;
    WebPAnimDecoderOptions options;
    const WebPData data = { file->bytes, file->n_bytes };
    TRY(check_features(&features, file, err));
    /* libwebp allocates the canvas at open, so limits are checked first. */
    TRY(picture_make(out, (uint64_t)features.width, (uint64_t)features.height,
                     features.has_alpha ? 4 : 3, file, err));
    FAIL_IF(!WebPAnimDecoderOptionsInit(&options), err, LVLM_EFORMAT,
            "libwebp has another version than it was built for");
    WebPAnimDecoder *const decoder = WebPAnimDecoderNew(&data, &options);
    FAIL_IF(decoder == NULL, err, LVLM_EFORMAT, "is damaged or cut off");
    const int rc = read_frame(out, decoder, err);
    WebPAnimDecoderDelete(decoder);
    return rc;
}

static bool is_webp(const image_bytes *file)
{
    return file->n_bytes >= 12 && memcmp(file->bytes, "RIFF", 4) == 0 &&
           memcmp(file->bytes + 8, "WEBP", 4) == 0;
}

const image_codec webp_codec = { "WebP", is_webp, decode_webp };
