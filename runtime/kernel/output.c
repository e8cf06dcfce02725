/* output.c - where the sums of blocks go. */
#include "runtime/kernel/output.h"

#include <assert.h>

#include "runtime/kernel/clones.h"

/* to = scale * from + bias, n rows of length `width`; bias (width) or NULL */
LVLM_SIMD_CLONES static void write_rows(float *to, size_t ld, const float *from,
                                        size_t line, size_t n, size_t width,
                                        float scale, const float *bias)
{
    for (size_t i = 0; i < n; i++, to += ld, from += line) {
        if (bias == NULL) {
#pragma omp simd
            for (size_t j = 0; j < width; j++) to[j] = scale * from[j];
        } else {
#pragma omp simd
            for (size_t j = 0; j < width; j++) to[j] = scale * from[j] + bias[j];
        }
    }
}

LVLM_SIMD_CLONES static void add_rows(float *to, size_t ld, const float *from,
                                      size_t line, size_t n, size_t width, float scale)
{
    for (size_t i = 0; i < n; i++, to += ld, from += line)
#pragma omp simd
        for (size_t j = 0; j < width; j++) to[j] += scale * from[j];
}

void lvlm_output_take(const lvlm_output *out, float *sums, size_t line, size_t m,
                      size_t n, size_t rows, size_t columns, bool first,
                      lvlm_turn *turn)
{
    float turned[LVLM_PANEL * LVLM_PANEL];
    const bool adds = out->adds || !first;
    if (!out->turned) {
        float *const to = out->data + m * out->ld + n;
        assert(out->bias == NULL);
        if (adds)
            add_rows(to, out->ld, sums, line, rows, columns, out->scale);
        else
            write_rows(to, out->ld, sums, line, rows, columns, out->scale, NULL);
        return;
    }
    for (size_t r = 0; r < rows; r += LVLM_PANEL)
        for (size_t c = 0; c < columns; c += LVLM_PANEL) {
            float *const to = out->data + (n + c) * out->ld + m + r;
            const size_t height = lvlm_min(rows - r, LVLM_PANEL);
            const size_t width = lvlm_min(columns - c, LVLM_PANEL);
            turn(turned, sums + r * line + c, line);
            if (adds)
                add_rows(to, out->ld, turned, LVLM_PANEL, width, height, out->scale);
            else
                write_rows(to, out->ld, turned, LVLM_PANEL, width, height, out->scale,
                           out->bias != NULL ? out->bias + m + r : NULL);
        }
}

void lvlm_output_fetch(const lvlm_output *out, size_t m, size_t n, size_t rows,
                       size_t columns)
{
    const lvlm_matrix c = { out->data, LVLM_F32, out->ld, false };
    if (out->turned)
        lvlm_fetch(&c, n, columns, m, rows);
    else
        lvlm_fetch(&c, m, rows, n, columns);
}
