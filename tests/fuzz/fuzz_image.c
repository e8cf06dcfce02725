/* fuzz_image.c - any bytes as an image file: refused, or all pixels are there. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/prepare/image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Small, so that most of the time is spent in parsing. */
    const lvlm_image_options options[2] = {
        { .alpha = LVLM_ALPHA_DROP, .max_pixels = 1 << 16 },
        { .alpha = LVLM_ALPHA_ON_WHITE, .max_pixels = 1 << 16 },
    };
    for (size_t i = 0; i < 2; i++) {
        lvlm_image image;
        lvlm_error err = { 0 };
        unsigned sum = 0;
        if (lvlm_image_decode(&image, data, size, "fuzz", &options[i], &err) < 0 &&
            (image.pixels != NULL || strncmp(err.text, "fuzz: ", 6) != 0))
            abort();
        for (size_t j = 0; j < image.width * image.height * 3; j++)
            sum += image.pixels[j];
        if (sum == 0xffffffffu) abort(); /* the bytes are read for the sanitizer */
        lvlm_image_free(&image);
    }
    return 0;
}
