/* patchify.c - an image as rows of patches. */
#include "runtime/ops/patchify.h"

#include <assert.h>
#include <string.h>

void patchify_forward(real *rows, const real *image, size_t C, size_t Sy, size_t Sx,
                      size_t p)
{
    assert(p > 0 && rows != image);
    const size_t Py = Sy / p, Px = Sx / p;
#pragma omp parallel for collapse(2)                                                   \
    schedule(static) if (C * Sy * Sx > LVLM_PARALLEL_MIN)
    for (size_t py = 0; py < Py; py++)
        for (size_t px = 0; px < Px; px++) {
            real *out = rows + (py * Px + px) * C * p * p;
            for (size_t c = 0; c < C; c++)
                for (size_t y = 0; y < p; y++, out += p)
                    memcpy(out, image + (c * Sy + py * p + y) * Sx + px * p,
                           p * sizeof *out);
        }
}
