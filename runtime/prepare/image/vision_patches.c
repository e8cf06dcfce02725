/* vision_patches.c - see vision_patches.h. */
#include "runtime/prepare/image/vision_patches.h"

#include <assert.h>

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
