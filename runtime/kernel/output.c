/* output.c - where the sums of blocks go. */
#include "runtime/kernel/output.h"

#include <assert.h>

#include "runtime/kernel/clones.h"

enum { LARGE = 1 << 18 }; /* floats: 1 MB */

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

/* A square, or what is real of it. */
static void put_turned(const lvlm_output *out, const lvlm_sums *s, bool adds,
                       lvlm_turn *turn)
{
    float turned[LVLM_PANEL * LVLM_PANEL];
    float *const to = out->data + s->n * out->ld + s->m;
    turn(turned, s->data, s->line);
    if (adds)
        add_rows(to, out->ld, turned, LVLM_PANEL, s->columns, s->rows, out->scale);
    else
        write_rows(to, out->ld, turned, LVLM_PANEL, s->columns, s->rows, out->scale,
                   out->bias != NULL ? out->bias + s->m : NULL);
}

static void pour_turned(const lvlm_output *out, const lvlm_sums *s, lvlm_pour *pour)
{
    pour(out->data + s->n * out->ld + s->m, out->ld, s->data, s->line, out->scale,
         out->bias != NULL ? out->bias + s->m : NULL);
}

static void take_turned(const lvlm_output *out, const lvlm_sums *s, bool adds,
                        bool pours, const lvlm_kernel *kernel)
{
    for (size_t r = 0; r < s->rows; r += LVLM_PANEL)
        for (size_t c = 0; c < s->columns; c += LVLM_PANEL) {
            const lvlm_sums square = { .data = s->data + r * s->line + c,
                                       .line = s->line,
                                       .m = s->m + r,
                                       .n = s->n + c,
                                       .rows = lvlm_min(s->rows - r, LVLM_PANEL),
                                       .columns =
                                           lvlm_min(s->columns - c, LVLM_PANEL) };
            if (pours && square.rows == LVLM_PANEL && square.columns == LVLM_PANEL)
                pour_turned(out, &square, kernel->pour);
            else
                put_turned(out, &square, adds, kernel->turn);
        }
}

void lvlm_output_take(const lvlm_output *out, const lvlm_sums *s, bool first,
                      bool pours, const lvlm_kernel *kernel)
{
    const bool adds = out->adds || !first;
    float *const to = out->data + s->m * out->ld + s->n;
    if (out->turned) {
        take_turned(out, s, adds, pours, kernel);
        return;
    }
    assert(out->bias == NULL);
    if (adds)
        add_rows(to, out->ld, s->data, s->line, s->rows, s->columns, out->scale);
    else
        write_rows(to, out->ld, s->data, s->line, s->rows, s->columns, out->scale,
                   NULL);
}

bool lvlm_output_pours(const lvlm_output *out, size_t M, size_t N)
{
    return out->turned && !out->adds && M * N >= LARGE && out->ld % LVLM_PANEL == 0 &&
           (uintptr_t)out->data % (LVLM_PANEL * sizeof(float)) == 0;
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
