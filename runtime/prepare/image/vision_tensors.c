/* vision_tensors.c - see vision_tensors.h. */
#include "runtime/prepare/image/vision_tensors.h"

#include <assert.h>

int vision_tensors_add(void **values, lvlm_vision_tensors *to, const char *name,
                       lvlm_dtype dtype, lvlm_shape shape, lvlm_error *err)
{
    uint64_t n_bytes;
    char text[LVLM_SHAPE_TEXT];
    assert(to->n < LVLM_VISION_TENSORS);
    *values = NULL;
    if (lvlm_shape_bytes(&n_bytes, &shape, dtype) && n_bytes <= SIZE_MAX)
        *values = lvlm_arena_alloc(&to->arena, (size_t)n_bytes, 1);
    FAIL_IF(*values == NULL, err, LVLM_ENOMEM, "out of memory for %s %s", name,
            lvlm_shape_text(text, &shape));
    to->at[to->n++] = (lvlm_tensor){ .name = name,
                                     .dtype = dtype,
                                     .shape = shape,
                                     .data = *values,
                                     .n_bytes = n_bytes };
    return 0;
}

/* ---- levels --------------------------------------------------------------------- */

/* In each path's own order of rounding. */
static float level(const vision_settings *s, unsigned v, size_t c)
{
    const bool fused = s->scaling == VISION_SCALE_FUSED;
    float mean = (float)s->mean[c], std = (float)s->std[c], x = (float)v;
    if (s->rescale && s->normalize && fused) {
        const float all = (float)(1.0 / s->factor);
        mean *= all;
        std *= all;
    } else if (s->rescale && fused) {
        x *= (float)s->factor;
    } else if (s->rescale) {
        x = s->scaling == VISION_SCALE_DIVIDE ? x / 255 : (float)(v * s->factor);
    }
    return s->normalize ? (x - mean) / std : x;
}

void vision_levels(float levels[3][256], const vision_settings *settings)
{
    for (size_t c = 0; c < 3; c++)
        for (unsigned v = 0; v < 256; v++) levels[c][v] = level(settings, v, c);
}

/* ---- patches -------------------------------------------------------------------- */

/* Copy a square of channel c.  at: (y,x)  out (side,side) */
static void put_square(float *out, const float *levels, const lvlm_image *image,
                       size_t c, const size_t at[2], size_t side)
{
    for (size_t y = at[0]; y < at[0] + side; y++) {
        const unsigned char *from = image->pixels + (y * image->width + at[1]) * 3 + c;
        for (size_t x = 0; x < side; x++, from += 3) *out++ = levels[*from];
    }
}

void vision_patches_put(float *out, const float levels[3][256],
                        const vision_settings *settings, const lvlm_image *image,
                        size_t frame)
{
    const size_t p = (size_t)settings->patch, m = (size_t)settings->merge;
    const size_t rows = image->height / p, columns = image->width / p;
    const size_t frames = (size_t)settings->frames, square = p * p;
    assert(frame < frames && rows % m == 0 && columns % m == 0);
    for (size_t Y = 0; Y < rows; Y += m)
        for (size_t X = 0; X < columns; X += m)
            for (size_t i = 0; i < m * m; i++, out += 3 * frames * square) {
                const size_t at[2] = { (Y + i / m) * p, (X + i % m) * p };
                for (size_t c = 0; c < 3; c++)
                    put_square(out + (c * frames + frame) * square, levels[c], image, c,
                               at, p);
            }
}
