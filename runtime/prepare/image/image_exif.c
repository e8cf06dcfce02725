/* image_exif.c - reads and applies the orientation of EXIF data.
 *
 *   ["Exif\0\0"] | "II*\0" or "MM\0*" | u32 offset of a directory
 *   directory: u16 n | n entries of tag u16, type u16, count u32, value in 4 bytes */
#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/prepare/image/image_codec.h"

enum {
    ORIENTATION = 0x0112,
    TYPE_SHORT = 3,
    ENTRY = 12,
    UPRIGHT = 1,
};

typedef struct block {
    const unsigned char *bytes;
    size_t n_bytes;
    bool big_endian;
} block;

/* An integer of 2 or 4 bytes; 0 beyond the end. */
static uint32_t integer_at(const block *b, uint64_t at, unsigned n_bytes)
{
    uint32_t value = 0;
    if (at + n_bytes > b->n_bytes) return 0;
    for (unsigned i = 0; i < n_bytes; i++)
        value |= (uint32_t)b->bytes[at + i]
                 << 8 * (b->big_endian ? n_bytes - 1 - i : i);
    return value;
}

unsigned exif_orientation(const unsigned char *bytes, size_t n_bytes)
{
    static const unsigned char tag[6] = "Exif\0";
    if (n_bytes >= sizeof tag && memcmp(bytes, tag, sizeof tag) == 0) {
        bytes += sizeof tag;
        n_bytes -= sizeof tag;
    }
    if (n_bytes < 8) return UPRIGHT;
    const block b = { bytes, n_bytes, bytes[0] == 'M' };
    if (integer_at(&b, 2, 2) != 42) return UPRIGHT;
    const uint64_t directory = integer_at(&b, 4, 4);
    const uint32_t n = integer_at(&b, directory, 2);
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t entry = directory + 2 + (uint64_t)i * ENTRY;
        if (integer_at(&b, entry, 2) != ORIENTATION) continue;
        if (integer_at(&b, entry + 2, 2) != TYPE_SHORT) return UPRIGHT;
        const uint32_t value = integer_at(&b, entry + 8, 2);
        return value >= 1 && value <= 8 ? value : UPRIGHT;
    }
    return UPRIGHT;
}

/* Bits of the operation, transposition first. */
enum { TRANSPOSE = 1, MIRROR = 2, FLIP = 4 };
static const unsigned char steps[9] = {
    [2] = MIRROR,           [3] = MIRROR | FLIP,      [4] = FLIP,
    [5] = TRANSPOSE,        [6] = TRANSPOSE | MIRROR, [7] = TRANSPOSE | MIRROR | FLIP,
    [8] = TRANSPOSE | FLIP,
};

int picture_turn(picture *image, lvlm_error *err)
{
    assert(image->orientation < sizeof steps / sizeof *steps);
    const unsigned todo = steps[image->orientation];
    const size_t C = image->channels, W = image->width, H = image->height;
    const size_t w = todo & TRANSPOSE ? H : W, h = todo & TRANSPOSE ? W : H;
    if (todo == 0) return 0;
    unsigned char *const turned = lvlm_malloc(W * H * C);
    if (turned == NULL) return lvlm_fail_memory(err);
    for (size_t y = 0; y < h; y++) {
        for (size_t x = 0; x < w; x++) {
            const size_t fx = todo & MIRROR ? w - 1 - x : x;
            const size_t fy = todo & FLIP ? h - 1 - y : y;
            const size_t from = todo & TRANSPOSE ? fx * W + fy : fy * W + fx;
            memcpy(turned + (y * w + x) * C, image->pixels + from * C, C);
        }
    }
    lvlm_free(image->pixels);
    image->pixels = turned;
    image->width = w;
    image->height = h;
    image->orientation = UPRIGHT;
    return 0;
}
