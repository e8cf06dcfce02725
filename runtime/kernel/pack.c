/* pack.c - operands as kernels want them. */
#include "runtime/kernel/pack.h"

#include <assert.h>
#include <string.h>

#include "formats/base/size.h"
#include "runtime/kernel/clones.h"
#include "runtime/kernel/terms.h"

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

/* out = the n values from number `at` on, zeros up to `room` */
static void load(float *out, const lvlm_matrix *m, size_t at, size_t n, size_t room)
{
    switch (m->dtype) {
    case LVLM_BF16: lvlm_widen_bf16(out, (const uint16_t *)m->data + at, n); break;
    case LVLM_F16: lvlm_widen_f16(out, (const uint16_t *)m->data + at, n); break;
    default:
        assert(m->dtype == LVLM_F32);
        memcpy(out, (const float *)m->data + at, n * sizeof *out);
    }
    memset(out + n, 0, (room - n) * sizeof *out);
}

static const float *floats_at(const lvlm_matrix *m, size_t at)
{
    return m->dtype == LVLM_F32 ? (const float *)m->data + at : NULL;
}

/* Terms that m is rounded to in form floats; LVLM_MOST_TERMS: it is not. */
static unsigned rounding(const lvlm_matrix *m, lvlm_form form)
{
    const bool fits = lvlm_terms_of(m->dtype, LVLM_MOST_TERMS) <= form.levels;
    return fits ? LVLM_MOST_TERMS : form.levels;
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

/* [steps][n_terms][rows][LVLM_STEP], or where m is turned floats [k][rows] */
static lvlm_left left_in(void *memory, const lvlm_matrix *m, size_t rows,
                         lvlm_form form)
{
    const bool turned = form.is_floats && m->turned;
    lvlm_left out = { .data = memory, .is_float = form.is_floats };
    out.n_terms = terms_in(m->dtype, form);
    out.row = turned ? sizeof(float) : LVLM_STEP * bytes_of(form);
    out.apart = turned ? rows * sizeof(float) : sizeof(float);
    out.term = rows * LVLM_STEP * bytes_of(form);
    out.step = out.n_terms * out.term;
    return out;
}

static lvlm_right right_in(void *memory, lvlm_dtype dtype, size_t steps, lvlm_form form)
{
    lvlm_right out = { .data = memory, .n_terms = terms_in(dtype, form) };
    out.step = LVLM_STEP * LVLM_PANEL * bytes_of(form) * out.n_terms;
    out.panel = steps * out.step;
    return out;
}

/* ---- blocks of columns that lie side by side in memory --------------------------- */

/* x (LVLM_STEP,width) = rows [k, k + len) of m and columns [first, first + n), padded
 * with zeros. */
static void load_columns(float *x, const lvlm_matrix *m, size_t first, size_t n,
                         size_t k, size_t len, size_t width)
{
    const size_t at = k * m->ld + first;
    if (n == LVLM_PANEL && width == n && m->dtype == LVLM_BF16)
        lvlm_widen_columns(x, (const uint16_t *)m->data + at, m->ld, len);
    else if (n == LVLM_PANEL && width == n && m->dtype == LVLM_F32)
        for (size_t i = 0; i < len; i++)
            memcpy(x + i * width, floats_at(m, at + i * m->ld), LVLM_PANEL * sizeof *x);
    else
        for (size_t i = 0; i < len; i++)
            load(x + i * width, m, at + i * m->ld, n, width);
    memset(x + len * width, 0, (LVLM_STEP - len) * width * sizeof *x);
}

/* The terms of LVLM_PANEL such columns, as pairs; LVLM_TILE bytes each.  n <= that */
static void pack_pairs(char *to, unsigned n_terms, const lvlm_matrix *m, size_t first,
                       size_t n, size_t k, size_t len)
{
    const size_t at = k * m->ld + first;
    const bool whole = n == LVLM_PANEL && len == LVLM_STEP;
    float x[LVLM_STEP * LVLM_PANEL];
    const float *from = floats_at(m, at);
    size_t ld = m->ld;
    if (whole && m->dtype == LVLM_BF16) {
        lvlm_copy_pairs(to, 0, 1, (const uint16_t *)m->data + at, ld);
        return;
    }
    if (!whole || from == NULL) {
        load_columns(x, m, first, n, k, len, LVLM_PANEL);
        from = x;
        ld = LVLM_PANEL;
    }
    for (unsigned t = 0; t < n_terms; t++, from = x, ld = LVLM_PANEL)
        lvlm_take_pairs(to + t * LVLM_TILE, t + 1 < n_terms ? x : NULL, from, ld);
}

/* ---- left ------------------------------------------------------------------------ */

/* The rows of a block can be read where they are: all of them, and what is read at once
 * of a row. */
static bool is_in_place(const lvlm_matrix *m, size_t n, size_t rows, size_t len,
                        lvlm_form form)
{
    if (n < rows) return false;
    if (form.is_floats && m->dtype == LVLM_F32)
        return rounding(m, form) == LVLM_MOST_TERMS;
    return !m->turned && m->dtype == LVLM_BF16 &&
           len % (form.is_floats ? 2 : LVLM_STEP) == 0;
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

/* Steps of a row in form terms, from its values; x may be `from`. */
static void write_terms(char *to, const lvlm_left *out, float *x, const float *from,
                        size_t n_steps)
{
    for (unsigned t = 0; t < out->n_terms; t++, from = x)
        lvlm_take_steps(to + t * out->term, out->step, t + 1 < out->n_terms ? x : NULL,
                        from, n_steps);
}

/* A row: `len` values from number `at` of m on, padded. */
static void pack_row(char *to, const lvlm_left *out, const lvlm_matrix *m, size_t at,
                     size_t len, size_t steps, lvlm_form form)
{
    const float *const from = floats_at(m, at);
    float x[LVLM_STEP];
    size_t step = 0;
    if (out->n_terms == 1 && !form.is_floats && from != NULL) {
        step = len / LVLM_STEP;
        write_terms(to, out, NULL, from, step);
    }
    for (; step < steps; step++) {
        const size_t i = lvlm_min(step * LVLM_STEP, len);
        load(x, m, at + i, lvlm_min(LVLM_STEP, len - i), LVLM_STEP);
        if (form.is_floats)
            lvlm_round_to_terms((float *)(void *)(to + step * out->step), x, LVLM_STEP,
                                rounding(m, form));
        else
            write_terms(to + step * out->step, out, x, x, 1);
    }
}

/* A step of m's turned memory. */
static void turn_left(char *to, const lvlm_left *out, const lvlm_matrix *m,
                      size_t first, size_t n, size_t rows, size_t k, size_t len,
                      lvlm_form form)
{
    float tiles[LVLM_MOST_TERMS * LVLM_TILE / sizeof(float)];
    if (form.is_floats) {
        float *const x = (float *)(void *)to;
        load_columns(x, m, first, n, k, len, rows);
        lvlm_round_to_terms(x, x, rows * LVLM_STEP, rounding(m, form));
        return;
    }
    for (size_t r = 0; r < rows; r += LVLM_PANEL) {
        const size_t some = r < n ? lvlm_min(LVLM_PANEL, n - r) : 0;
        pack_pairs((char *)tiles, out->n_terms, m, first + r, some, k, len);
        for (unsigned t = 0; t < out->n_terms; t++)
            form.turn((float *)(void *)(to + t * out->term + r * out->row),
                      tiles + t * LVLM_TILE / sizeof(float), LVLM_PANEL);
    }
}

lvlm_left lvlm_pack_left(void *memory, const lvlm_matrix *m, size_t first, size_t n,
                         size_t rows, size_t k, size_t len, lvlm_form form)
{
    assert(n > 0 && n <= rows && rows <= LVLM_MOST_ROWS);
    if (is_in_place(m, n, rows, len, form)) return left_of(m, first, k);
    const lvlm_left out = left_in(memory, m, rows, form);
    for (size_t i = 0; m->turned && i < len; i += LVLM_STEP)
        turn_left((char *)memory + i / LVLM_STEP * out.step, &out, m, first, n, rows,
                  k + i, lvlm_min(LVLM_STEP, len - i), form);
    for (size_t r = 0; !m->turned && r < rows; r++)
        pack_row((char *)memory + r * out.row, &out, m,
                 r < n ? (first + r) * m->ld + k : 0, r < n ? len : 0,
                 lvlm_steps_of(len), form);
    return out;
}

/* ---- right ----------------------------------------------------------------------- */

/* A step of a panel whose columns lie side by side in memory. */
static void copy_right(char *to, unsigned n_terms, const lvlm_matrix *m, size_t first,
                       size_t n, size_t k, size_t len, lvlm_form form)
{
    float *const values = (float *)(void *)to;
    if (!form.is_floats) {
        pack_pairs(to, n_terms, m, first, n, k, len);
        return;
    }
    load_columns(values, m, first, n, k, len, LVLM_PANEL);
    lvlm_round_to_terms(values, values, LVLM_STEP * LVLM_PANEL, rounding(m, form));
}

/* The same where each column is a row of memory. */
static void turn_right(char *to, unsigned n_terms, const lvlm_matrix *m, size_t first,
                       size_t n, size_t k, size_t len, lvlm_form form)
{
    float x[LVLM_PANEL * LVLM_STEP], turned[LVLM_STEP * LVLM_PANEL];
    float *const values = form.is_floats ? (float *)(void *)to : turned;
    const float *from = floats_at(m, first * m->ld + k);
    size_t ld = m->ld;
    if (n < LVLM_PANEL || len < LVLM_STEP || from == NULL) {
        for (size_t c = 0; c < LVLM_PANEL; c++)
            load(x + c * LVLM_STEP, m, c < n ? (first + c) * ld + k : 0,
                 c < n ? len : 0, LVLM_STEP);
        from = x;
        ld = LVLM_STEP;
    }
    form.turn(values, from, ld);
    form.turn(values + LVLM_PANEL * LVLM_PANEL, from + LVLM_PANEL, ld);
    if (form.is_floats) {
        lvlm_round_to_terms(values, values, LVLM_STEP * LVLM_PANEL, rounding(m, form));
        return;
    }
    for (unsigned t = 0; t < n_terms; t++)
        lvlm_take_pairs(to + t * LVLM_TILE, t + 1 < n_terms ? values : NULL, values,
                        LVLM_PANEL);
}

lvlm_right lvlm_pack_right(void *memory, const lvlm_matrix *m, size_t first, size_t n,
                           size_t k, size_t len, lvlm_form form)
{
    const lvlm_right out = right_in(memory, m->dtype, lvlm_steps_of(len), form);
    assert(n > 0 && len > 0);
    for (size_t i = 0; m->turned && i < len; i += LVLM_STEP) {
        char *const step = (char *)memory + i / LVLM_STEP * out.step;
        const size_t some = lvlm_min(LVLM_STEP, len - i);
        size_t c = 0;
        if (some == LVLM_STEP && m->dtype == LVLM_BF16 && !form.is_floats) {
            c = n / LVLM_PANEL * LVLM_PANEL;
            lvlm_copy_pairs(step, out.panel, n / LVLM_PANEL,
                            (const uint16_t *)m->data + (k + i) * m->ld + first, m->ld);
        }
        for (; c < n; c += LVLM_PANEL)
            copy_right(step + c / LVLM_PANEL * out.panel, out.n_terms, m, first + c,
                       lvlm_min(LVLM_PANEL, n - c), k + i, some, form);
    }
    for (size_t c = 0; !m->turned && c < n; c += LVLM_PANEL) {
        char *const panel = (char *)memory + c / LVLM_PANEL * out.panel;
        for (size_t i = 0; i < len; i += LVLM_STEP)
            turn_right(panel + i / LVLM_STEP * out.step, out.n_terms, m, first + c,
                       lvlm_min(LVLM_PANEL, n - c), k + i, lvlm_min(LVLM_STEP, len - i),
                       form);
    }
    return out;
}

/* ---- memory that comes next ------------------------------------------------------ */

void lvlm_fetch(const lvlm_matrix *m, size_t first, size_t n, size_t k, size_t len)
{
    const size_t bytes = lvlm_dtype_bytes(m->dtype), line = m->ld * bytes;
    const size_t width = (m->turned ? n : len) * bytes;
    const char *row = (const char *)m->data;
    row += m->turned ? k * line + first * bytes : first * line + k * bytes;
    for (size_t i = m->turned ? len : n; width > 0 && i > 0; i--, row += line) {
        for (size_t at = 0; at < width; at += LVLM_CACHE_LINE) LVLM_PREFETCH(row + at);
        LVLM_PREFETCH(row + width - 1);
    }
}
