/* avx512.c - kernels for AVX-512: bf16 pairs by vdpbf16ps, floats by fused products.
 *
 *   a lane is a column; a value, or a pair, of a row is broadcast to all lanes
 *   8 rows x 3 panels: 24 sums in registers, 11 loads for 24 products */
#include "runtime/kernel/kernel.h"

#if LVLM_COMPILES_AVX512_BF16
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#define UNROLL _Pragma("GCC unroll 16")

enum { ROWS = 16, PANELS = 3, HALF = 8, COLUMNS = PANELS * LVLM_PANEL };

INLINE __m512i broadcast(const char *at)
{
    int bits;
    memcpy(&bits, at, sizeof bits);
    return _mm512_set1_epi32(bits);
}

INLINE void store(float *sums, __m512 s[HALF][PANELS], size_t n, bool adds)
{
    for (size_t r = 0; r < HALF; r++)
        for (size_t c = 0; c < n; c++) {
            float *const to = sums + r * COLUMNS + c * LVLM_PANEL;
            if (adds) s[r][c] = _mm512_add_ps(_mm512_loadu_ps(to), s[r][c]);
            _mm512_storeu_ps(to, s[r][c]);
        }
}

/* ---- bf16 ------------------------------------------------------------------------ */

/* Add one step of one term of each side. */
INLINE void add_pairs(__m512 s[HALF][PANELS], const char *left, size_t row,
                      const char *right, size_t panel, size_t n)
{
    for (size_t k = 0; k < LVLM_STEP / 2; k++) {
        __m512i b[PANELS];
        UNROLL for (size_t c = 0; c < n; c++) b[c] =
            _mm512_loadu_si512(right + c * panel + k * sizeof(__m512i));
        UNROLL for (size_t r = 0; r < HALF; r++)
        {
            const __m512i a = broadcast(left + r * row + k * sizeof(int));
            UNROLL for (size_t c = 0; c < n; c++) s[r][c] =
                _mm512_dpbf16_ps(s[r][c], (__m512bh)a, (__m512bh)b[c]);
        }
    }
}

INLINE void half_block(float *sums, const lvlm_block *b, const char *left, size_t n)
{
    __m512 s[HALF][PANELS];
    UNROLL for (size_t r = 0; r < HALF; r++) UNROLL for (size_t c = 0; c < n; c++)
        s[r][c] = _mm512_setzero_ps();
    LVLM_EACH_PAIR(b, i, j)
    for (size_t step = 0; step < lvlm_steps_of(b->n_values); step++)
        add_pairs(s, left + step * b->left.step + i * b->left.term, b->left.row,
                  b->right.data + step * b->right.step + j * LVLM_TILE, b->right.panel,
                  n);
    store(sums, s, n, b->adds);
}

TARGET static void terms(float *sums, const lvlm_block *b)
{
    for (size_t r = 0; r < ROWS; r += HALF) {
        const char *const left = b->left.data + r * b->left.row;
        switch (b->n_panels) {
        case 1: half_block(sums + r * COLUMNS, b, left, 1); break;
        case 2: half_block(sums + r * COLUMNS, b, left, 2); break;
        default: half_block(sums + r * COLUMNS, b, left, 3);
        }
    }
}

/* ---- floats ---------------------------------------------------------------------- */

INLINE void add_products(__m512 s[HALF][PANELS], __m512 a, size_t r, const __m512 *b,
                         size_t n)
{
    UNROLL for (size_t c = 0; c < n; c++) s[r][c] = _mm512_fmadd_ps(a, b[c], s[r][c]);
}

INLINE void load_panels(__m512 *b, const char *right, size_t panel, size_t n)
{
    UNROLL for (size_t c = 0; c < n; c++) b[c] = _mm512_loadu_ps(right + c * panel);
}

/* n_values of a step; the rows are floats. */
INLINE void add_floats(__m512 s[HALF][PANELS], const char *left, const lvlm_block *b,
                       const char *right, size_t n_values, size_t n)
{
    const size_t row = b->left.row, apart = b->left.apart;
    for (size_t k = 0; k < n_values; k++, left += apart, right += sizeof(__m512)) {
        __m512 x[PANELS];
        load_panels(x, right, b->right.panel, n);
        UNROLL for (size_t r = 0; r < HALF; r++)
            add_products(s, _mm512_castsi512_ps(broadcast(left + r * row)), r, x, n);
    }
}

/* The same; the rows are bf16, two of which are broadcast at once. */
INLINE void add_halves(__m512 s[HALF][PANELS], const char *left, const lvlm_block *b,
                       const char *right, size_t n_values, size_t n)
{
    const __m512i high = _mm512_set1_epi32((int)0xffff0000u);
    for (size_t k = 0; k < n_values; k += 2) {
        __m512 even[PANELS], odd[PANELS];
        load_panels(even, right + k * sizeof(__m512), b->right.panel, n);
        load_panels(odd, right + (k + 1) * sizeof(__m512), b->right.panel, n);
        UNROLL for (size_t r = 0; r < HALF; r++)
        {
            const __m512i a = broadcast(left + r * b->left.row + k * sizeof(uint16_t));
            add_products(s, _mm512_castsi512_ps(_mm512_slli_epi32(a, 16)), r, even, n);
            add_products(s, _mm512_castsi512_ps(_mm512_and_si512(a, high)), r, odd, n);
        }
    }
}

INLINE void half_of_floats(float *sums, const lvlm_block *b, const char *left, size_t n,
                           bool is_float)
{
    const char *right = b->right.data;
    __m512 s[HALF][PANELS];
    UNROLL for (size_t r = 0; r < HALF; r++) UNROLL for (size_t c = 0; c < n; c++)
        s[r][c] = _mm512_setzero_ps();
    for (size_t k = 0; k < b->n_values; k += LVLM_STEP) {
        const size_t some = lvlm_min(b->n_values - k, LVLM_STEP);
        if (is_float)
            add_floats(s, left, b, right, some, n);
        else
            add_halves(s, left, b, right, some, n);
        left += b->left.step;
        right += b->right.step;
    }
    store(sums, s, n, b->adds);
}

TARGET static void floats(float *sums, const lvlm_block *b)
{
    for (size_t r = 0; r < ROWS; r += HALF) {
        const char *const left = b->left.data + r * b->left.row;
        float *const to = sums + r * COLUMNS;
        switch (b->n_panels * 2 + b->left.is_float) {
        case 2: half_of_floats(to, b, left, 1, false); break;
        case 3: half_of_floats(to, b, left, 1, true); break;
        case 4: half_of_floats(to, b, left, 2, false); break;
        case 5: half_of_floats(to, b, left, 2, true); break;
        case 6: half_of_floats(to, b, left, 3, false); break;
        default: half_of_floats(to, b, left, 3, true);
        }
    }
}

/* ---- turning --------------------------------------------------------------------- */

/* Four rows a..d of 16 values become, in each quarter q, columns 4q .. 4q + 3 of the
 * four rows; then quarters of four such groups are exchanged.  y (LVLM_PANEL) */
INLINE void turn(__m512 *y, const float *from, size_t line)
{
    __m512 x[4][4]; /* group of rows, column within a quarter */
    UNROLL for (size_t g = 0; g < 4; g++)
    {
        const float *const at = from + 4 * g * line;
        const __m512 a = _mm512_loadu_ps(at), b = _mm512_loadu_ps(at + line);
        const __m512 c = _mm512_loadu_ps(at + 2 * line),
                     d = _mm512_loadu_ps(at + 3 * line);
        const __m512d ab = _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
        const __m512d cd = _mm512_castps_pd(_mm512_unpacklo_ps(c, d));
        const __m512d ab_high = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
        const __m512d cd_high = _mm512_castps_pd(_mm512_unpackhi_ps(c, d));
        x[g][0] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
        x[g][1] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
        x[g][2] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab_high, cd_high));
        x[g][3] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab_high, cd_high));
    }
    UNROLL for (size_t c = 0; c < 4; c++)
    {
        const __m512 low = _mm512_shuffle_f32x4(x[0][c], x[1][c], 0x88);
        const __m512 low_odd = _mm512_shuffle_f32x4(x[0][c], x[1][c], 0xdd);
        const __m512 high = _mm512_shuffle_f32x4(x[2][c], x[3][c], 0x88);
        const __m512 high_odd = _mm512_shuffle_f32x4(x[2][c], x[3][c], 0xdd);
        y[c] = _mm512_shuffle_f32x4(low, high, 0x88);
        y[c + 4] = _mm512_shuffle_f32x4(low_odd, high_odd, 0x88);
        y[c + 8] = _mm512_shuffle_f32x4(low, high, 0xdd);
        y[c + 12] = _mm512_shuffle_f32x4(low_odd, high_odd, 0xdd);
    }
}

TARGET void lvlm_turn_avx512(float *to, const float *from, size_t line)
{
    __m512 y[LVLM_PANEL];
    turn(y, from, line);
    UNROLL for (size_t c = 0; c < LVLM_PANEL; c++)
        _mm512_storeu_ps(to + c * LVLM_PANEL, y[c]);
}

TARGET void lvlm_pour_avx512(float *to, size_t ld, const float *from, size_t line,
                             float scale, const float *bias)
{
    const __m512 factor = _mm512_set1_ps(scale);
    const __m512 b = bias != NULL ? _mm512_loadu_ps(bias) : _mm512_setzero_ps();
    __m512 y[LVLM_PANEL];
    turn(y, from, line);
    UNROLL for (size_t c = 0; c < LVLM_PANEL; c++)
        _mm512_stream_ps(to + c * ld, _mm512_add_ps(_mm512_mul_ps(factor, y[c]), b));
}

void lvlm_end_avx512(void)
{
    _mm_sfence();
}

const lvlm_kernel lvlm_avx512_terms = {
    terms, ROWS, PANELS, lvlm_turn_avx512, lvlm_pour_avx512, NULL, lvlm_end_avx512,
};
const lvlm_kernel lvlm_avx512_floats = {
    floats, ROWS, PANELS, lvlm_turn_avx512, lvlm_pour_avx512, NULL, lvlm_end_avx512,
};

#endif
