/* vision_levels.c - levels to numbers, in each path's own order of rounding; see
 * vision_settings.h. */
#include "runtime/prepare/image/vision_settings.h"

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
