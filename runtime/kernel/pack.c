/* pack.c - operands as kernels want them. */
#include "runtime/kernel/pack.h"

#include <assert.h>
#include <string.h>

#include "formats/base/size.h"
#include "formats/container/numeric.h"
#include "runtime/kernel/clones.h"

enum { CHUNK = 512 }; /* values that are widened at once */

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

unsigned lvlm_terms_of(lvlm_dtype dtype, unsigned levels)
{
    const unsigned most = dtype == LVLM_BF16 ? 1 : dtype == LVLM_F16 ? 2 : 3;
    assert(levels >= 1 && levels <= LVLM_MOST_TERMS);
    return most < levels ? most : levels;
}

unsigned lvlm_products_of(lvlm_dtype left, lvlm_dtype right, unsigned levels)
{
    unsigned n = 0;
    for (unsigned i = 0; i < lvlm_terms_of(left, levels); i++)
        for (unsigned j = 0; j < lvlm_terms_of(right, levels) && i + j < levels; j++)
            n++;
    return n;
}

/* ---- values ---------------------------------------------------------------------- */

LVLM_SIMD_CLONES static void unpack_bf16(float *out, const uint16_t *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) out[i] = lvlm_f32_of_bf16(x[i]);
}

LVLM_SIMD_CLONES static void unpack_f16(float *out, const uint16_t *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) out[i] = lvlm_f32_of_f16_fast(x[i]);
}

/* out = the n values from number `at` on, zeros up to `room` */
static void load(float *out, const lvlm_matrix *m, size_t at, size_t n, size_t room)
{
    switch (m->dtype) {
    case LVLM_BF16: unpack_bf16(out, (const uint16_t *)m->data + at, n); break;
    case LVLM_F16: unpack_f16(out, (const uint16_t *)m->data + at, n); break;
    default:
        assert(m->dtype == LVLM_F32);
        memcpy(out, (const float *)m->data + at, n * sizeof *out);
    }
    memset(out + n, 0, (room - n) * sizeof *out);
}

/* x to bf16, and what is left. What would round to infinity is cut; of infinity and NaN
 * nothing is left. */
static inline uint16_t take_term(float *x)
{
    const uint32_t bits = lvlm_bits_of_f32(*x), exponent = 0x7f800000u;
    const uint32_t rounded = bits + 0x7fffu + (bits >> 16 & 1u);
    const uint32_t nan = (bits & ~0x80000000u) > exponent ? 0x400000u : 0u;
    const uint32_t cut = bits | nan;
    const uint32_t term =
        ((rounded & exponent) == exponent ? cut : rounded) & 0xffff0000u;
    *x = (bits & exponent) == exponent ? 0 : *x - lvlm_f32_of_bits(term);
    return (uint16_t)(term >> 16);
}

/* term[i] = the next term of x[i], which is subtracted */
LVLM_SIMD_CLONES static void take_terms(uint16_t *term, float *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) term[i] = take_term(&x[i]);
}

LVLM_SIMD_CLONES static void round_to_two(float *out, const float *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float rest = x[i];
        const uint16_t first = take_term(&rest), second = take_term(&rest);
        out[i] = lvlm_f32_of_bf16(first) + lvlm_f32_of_bf16(second);
    }
}

LVLM_SIMD_CLONES static void round_to_one(float *out, const float *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float rest = x[i];
        out[i] = lvlm_f32_of_bf16(take_term(&rest));
    }
}

void lvlm_round_to_terms(float *out, const float *x, size_t n, unsigned levels)
{
    if (levels == 1)
        round_to_one(out, x, n);
    else if (levels == 2)
        round_to_two(out, x, n);
    else if (out != x)
        memcpy(out, x, n * sizeof *out);
}

static bool must_round(const lvlm_matrix *m, lvlm_form form)
{
    return lvlm_terms_of(m->dtype, LVLM_MOST_TERMS) > form.levels;
}

/* Values of m, in form floats; terms are rounded as they are taken. */
static void round_floats(float *x, const lvlm_matrix *m, size_t n, lvlm_form form)
{
    if (form.is_floats && must_round(m, form))
        lvlm_round_to_terms(x, x, n, form.levels);
}

/* x (CHUNK) = steps of a row or column from number `step` of `steps` on, at most as
 * many as fit; returns how many. They are `len` values from number `at` of m on, and
 * padded. */
static size_t load_steps(float *x, const lvlm_matrix *m, size_t at, size_t len,
                         size_t step, size_t steps, lvlm_form form)
{
    const size_t i = min(step * LVLM_STEP, len), some = min(CHUNK, len - i);
    const size_t n = min(CHUNK / LVLM_STEP, steps - step);
    load(x, m, at + i, some, n * LVLM_STEP);
    round_floats(x, m, some, form);
    return n;
}

/* ---- layout ---------------------------------------------------------------------- */

static unsigned terms_in(lvlm_dtype dtype, lvlm_form form)
{
    return form.is_floats ? 1 : lvlm_terms_of(dtype, form.levels);
}

static size_t bytes_of(lvlm_form form)
{
    return form.is_floats ? sizeof(float) : sizeof(uint16_t);
}

size_t lvlm_pack_bytes(size_t rows, size_t steps, lvlm_form form)
{
    return lvlm_round_up(rows, LVLM_PANEL) * steps * LVLM_STEP * bytes_of(form) *
           (form.is_floats ? 1 : form.levels);
}

lvlm_left lvlm_left_in(void *memory, lvlm_dtype dtype, size_t rows, lvlm_form form)
{
    lvlm_left out = { .data = memory,
                      .apart = sizeof(float),
                      .is_float = form.is_floats };
    out.n_terms = terms_in(dtype, form);
    out.row = LVLM_STEP * bytes_of(form);
    out.term = rows * out.row;
    out.step = out.n_terms * out.term;
    return out;
}

lvlm_right lvlm_right_in(void *memory, lvlm_dtype dtype, size_t steps, lvlm_form form)
{
    lvlm_right out = { .data = memory, .n_terms = terms_in(dtype, form) };
    out.step = LVLM_STEP * LVLM_PANEL * bytes_of(form) * out.n_terms;
    out.panel = steps * out.step;
    return out;
}

/* ---- left ------------------------------------------------------------------------ */

/* The rows of a block can be read where they are: all of them, and what is read at once
 * of a row. */
static bool is_in_place(const lvlm_matrix *m, size_t n, size_t rows, size_t len,
                        lvlm_form form)
{
    if (n < rows) return false;
    if (form.is_floats && m->dtype == LVLM_F32) return !must_round(m, form);
    return !m->turned && m->dtype == LVLM_BF16 &&
           len % (form.is_floats ? 2 : LVLM_STEP) == 0;
}

/* `steps` steps of row r, beginning with number `step`, from their values x, which are
 * used up. */
static void write_left(const lvlm_left *out, size_t step, size_t r, float *x,
                       size_t steps)
{
    char *const to = (char *)(uintptr_t)out->data + step * out->step + r * out->row;
    for (size_t s = 0; s < steps; s++, x += LVLM_STEP)
        if (out->is_float)
            memcpy(to + s * out->step, x, LVLM_STEP * sizeof *x);
        else
            for (unsigned t = 0; t < out->n_terms; t++)
                take_terms((uint16_t *)(to + s * out->step + t * out->term), x,
                           LVLM_STEP);
}

/* The same for one step, from m's turned memory. */
static void turn_left(const lvlm_left *out, size_t step, const lvlm_matrix *m,
                      size_t first, size_t n, size_t rows, size_t k, size_t len,
                      lvlm_form form)
{
    float turned[LVLM_MOST_ROWS][LVLM_STEP], x[LVLM_MOST_ROWS];
    memset(turned, 0, sizeof turned);
    for (size_t i = 0; i < len; i++) {
        load(x, m, (k + i) * m->ld + first, n, rows);
        round_floats(x, m, n, form);
        for (size_t r = 0; r < n; r++) turned[r][i] = x[r];
    }
    for (size_t r = 0; r < rows; r++) write_left(out, step, r, turned[r], 1);
}

/* m's own memory. */
static lvlm_left left_of(const lvlm_matrix *m, size_t first, size_t k)
{
    const size_t bytes = lvlm_dtype_bytes(m->dtype);
    const size_t row = (m->turned ? 1 : m->ld) * bytes;
    const size_t apart = (m->turned ? m->ld : 1) * bytes;
    return (lvlm_left){ .data = (const char *)m->data + first * row + k * apart,
                        .row = row,
                        .step = LVLM_STEP * apart,
                        .n_terms = 1,
                        .apart = apart,
                        .is_float = m->dtype == LVLM_F32 };
}

/* One row of `out`: `len` values from number `at` of m on, padded. */
static void pack_row(const lvlm_left *out, size_t r, const lvlm_matrix *m, size_t at,
                     size_t len, size_t steps, lvlm_form form)
{
    float x[CHUNK];
    for (size_t s = 0, n; s < steps; s += n) {
        n = load_steps(x, m, at, len, s, steps, form);
        write_left(out, s, r, x, n);
    }
}

lvlm_left lvlm_pack_left(void *memory, const lvlm_matrix *m, size_t first, size_t n,
                         size_t rows, size_t k, size_t len, lvlm_form form)
{
    const size_t steps = lvlm_steps_of(len);
    assert(n > 0 && n <= rows && rows <= LVLM_MOST_ROWS);
    if (is_in_place(m, n, rows, len, form)) return left_of(m, first, k);
    const lvlm_left out = lvlm_left_in(memory, m->dtype, rows, form);
    for (size_t s = 0; m->turned && s < steps; s++)
        turn_left(&out, s, m, first, n, rows, k + s * LVLM_STEP,
                  min(LVLM_STEP, len - s * LVLM_STEP), form);
    for (size_t r = 0; !m->turned && r < rows; r++)
        pack_row(&out, r, m, r < n ? (first + r) * m->ld + k : 0, r < n ? len : 0,
                 steps, form);
    return out;
}

/* ---- right ----------------------------------------------------------------------- */

/* A step of column c from its values x, which are used up. */
static void write_column(char *to, size_t c, float *x, unsigned n_terms, bool is_floats)
{
    for (size_t i = 0; is_floats && i < LVLM_STEP; i++)
        memcpy(to + (i * LVLM_PANEL + c) * sizeof *x, &x[i], sizeof *x);
    for (unsigned t = 0; !is_floats && t < n_terms; t++) {
        uint16_t term[LVLM_STEP];
        take_terms(term, x, LVLM_STEP);
        for (size_t i = 0; i < LVLM_STEP; i += 2)
            memcpy(to + t * LVLM_TILE + (i / 2 * LVLM_PANEL + c) * 4, &term[i], 4);
    }
}

/* Column c of a panel: `len` values from number `at` of m on, padded. */
static void pack_column(const lvlm_right *out, char *to, size_t c, const lvlm_matrix *m,
                        size_t at, size_t len, size_t steps, lvlm_form form)
{
    float x[CHUNK];
    for (size_t s = 0, n; s < steps; s += n) {
        n = load_steps(x, m, at, len, s, steps, form);
        for (size_t d = 0; d < n; d++)
            write_column(to + (s + d) * out->step, c, x + d * LVLM_STEP, out->n_terms,
                         form.is_floats);
    }
}

/* A pair is two rows of memory. Pair p is at to + 2 * p * LVLM_PANEL. */
LVLM_SIMD_CLONES static void interleave(uint16_t *to, const uint16_t *from, size_t ld,
                                        size_t n_pairs)
{
    for (size_t p = 0; p < n_pairs; p++, from += 2 * ld, to += 2 * LVLM_PANEL)
        for (size_t c = 0; c < LVLM_PANEL; c++) {
            to[2 * c] = from[c];
            to[2 * c + 1] = from[ld + c];
        }
}

LVLM_SIMD_CLONES static void widen_columns(float *to, const uint16_t *from, size_t ld,
                                           size_t n)
{
    for (size_t i = 0; i < n; i++, from += ld, to += LVLM_PANEL)
#pragma omp simd
        for (size_t c = 0; c < LVLM_PANEL; c++) to[c] = lvlm_f32_of_bf16(from[c]);
}

/* A panel whose columns lie side by side in memory, over [k, k + len), padded to `room`
 * rows.  to (room,LVLM_PANEL) */
static void copy_columns(float *to, const lvlm_matrix *m, size_t first, size_t n,
                         size_t k, size_t len, size_t room)
{
    const size_t at = k * m->ld + first;
    if (n == LVLM_PANEL && m->dtype == LVLM_BF16)
        widen_columns(to, (const uint16_t *)m->data + at, m->ld, len);
    else if (n == LVLM_PANEL && m->dtype == LVLM_F32)
        for (size_t i = 0; i < len; i++)
            memcpy(to + i * LVLM_PANEL, (const float *)m->data + at + i * m->ld,
                   LVLM_PANEL * sizeof *to);
    else
        for (size_t i = 0; i < len; i++)
            load(to + i * LVLM_PANEL, m, at + i * m->ld, n, LVLM_PANEL);
    memset(to + len * LVLM_PANEL, 0, (room - len) * LVLM_PANEL * sizeof *to);
}

/* The same as terms, by steps. */
static void pack_pairs(const lvlm_right *out, char *to, const lvlm_matrix *m,
                       size_t first, size_t n, size_t k, size_t len)
{
    const bool plain = m->dtype == LVLM_BF16 && n == LVLM_PANEL;
    for (size_t i = 0; i < len; i += LVLM_STEP, to += out->step) {
        const size_t some = min(LVLM_STEP, len - i);
        float x[LVLM_STEP * LVLM_PANEL];
        uint16_t term[LVLM_STEP * LVLM_PANEL];
        if (plain && some == LVLM_STEP) {
            interleave((uint16_t *)to,
                       (const uint16_t *)m->data + (k + i) * m->ld + first, m->ld,
                       LVLM_STEP / 2);
            continue;
        }
        copy_columns(x, m, first, n, k + i, some, LVLM_STEP);
        for (unsigned t = 0; t < out->n_terms; t++) {
            take_terms(term, x, LVLM_STEP * LVLM_PANEL);
            interleave((uint16_t *)(to + t * LVLM_TILE), term, LVLM_PANEL,
                       LVLM_STEP / 2);
        }
    }
}

lvlm_right lvlm_pack_right(void *memory, const lvlm_matrix *m, size_t first, size_t n,
                           size_t k, size_t len, lvlm_form form)
{
    const size_t steps = lvlm_steps_of(len);
    const lvlm_right out = lvlm_right_in(memory, m->dtype, steps, form);
    assert(n > 0 && len > 0);
    for (size_t p = 0; p < n; p += LVLM_PANEL) {
        char *const to = (char *)memory + p / LVLM_PANEL * out.panel;
        const size_t some = min(LVLM_PANEL, n - p);
        if (m->turned && form.is_floats) {
            copy_columns((float *)to, m, first + p, some, k, len, steps * LVLM_STEP);
            round_floats((float *)to, m, len * LVLM_PANEL, form);
        } else if (m->turned) {
            pack_pairs(&out, to, m, first + p, some, k, len);
        }
        for (size_t c = 0; !m->turned && c < LVLM_PANEL; c++)
            pack_column(&out, to, c, m, c < some ? (first + p + c) * m->ld + k : 0,
                        c < some ? len : 0, steps, form);
    }
    return out;
}
