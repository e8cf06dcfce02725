/* alteration.c - signatures and a sketch of the difference; see alteration.h.
 *
 * The sketch adds row i, with a sign, to one of at most 512 rows, and columns likewise
 * (a CountSketch on both sides): it keeps a rank far below 512 and costs one addition
 * per value. Its rank is the number of columns, chosen one after another, of which more
 * remains than rounding explains. */
#include "verify/compare/alteration.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/random.h"
#include "formats/container/numeric.h"

enum { SKETCH = 512, MOST_RANK = 128 };

typedef struct signatures {
    uint64_t rows, columns;
    uint64_t *row, *column;
} signatures;

struct lvlm_altering {
    signatures a, b;
    lvlm_dtype a_dtype, b_dtype;
    double *sketch; /* (sketch_columns, sketch_rows) */
    size_t sketch_rows, sketch_columns;
    double factor;    /* of a that b is nearest to */
    double rest2;     /* of b - factor a */
    double first;     /* b - a of the first pair, from which the others are counted */
    double sum, sum2; /* of b - a - first */
    uint64_t n, n_unrounded;
};

/* ---- beginning ------------------------------------------------------------------- */

static bool make_signatures(signatures *s, const lvlm_values *values)
{
    lvlm_values_matrix(&s->rows, &s->columns, values);
    s->row = lvlm_calloc((size_t)s->rows + 1, sizeof *s->row);
    s->column = lvlm_calloc((size_t)s->columns + 1, sizeof *s->column);
    return s->row != NULL && s->column != NULL;
}

lvlm_altering *lvlm_altering_begin(const lvlm_values *a, const lvlm_values *b,
                                   const lvlm_distance *distance)
{
    lvlm_altering *const c = lvlm_calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    assert(lvlm_values_count(a) == lvlm_values_count(b));
    c->a_dtype = a->tensor->dtype;
    c->b_dtype = b->tensor->dtype;
    c->factor = distance->a2 > 0 ? distance->ab / distance->a2 : 0;
    bool ok = make_signatures(&c->a, a) && make_signatures(&c->b, b);
    c->sketch_rows = c->b.rows < SKETCH ? (size_t)c->b.rows : SKETCH;
    c->sketch_columns = c->b.columns < SKETCH ? (size_t)c->b.columns : SKETCH;
    c->sketch = lvlm_calloc(c->sketch_rows * c->sketch_columns + 1, sizeof *c->sketch);
    if (ok && c->sketch != NULL) return c;
    lvlm_altering_free(c);
    return NULL;
}

void lvlm_altering_free(lvlm_altering *c)
{
    if (c == NULL) return;
    lvlm_free(c->a.row);
    lvlm_free(c->a.column);
    lvlm_free(c->b.row);
    lvlm_free(c->b.column);
    lvlm_free(c->sketch);
    lvlm_free(c);
}

/* ---- one pass -------------------------------------------------------------------- */

/* Of two zeros, and of all that is not a number, one. */
static uint64_t bits_of(double value)
{
    uint64_t bits;
    if (value == 0) return 0;
    if (isnan(value)) return 1;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void sign_values(signatures *s, const double *values, uint64_t first, size_t n)
{
    uint64_t row = s->columns > 0 ? first / s->columns : 0;
    uint64_t column = s->columns > 0 ? first % s->columns : 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t bits = lvlm_random_scramble(bits_of(values[i]));
        s->row[row] += lvlm_random_scramble(bits + column);
        s->column[column] += lvlm_random_scramble(bits + row);
        if (++column < s->columns) continue;
        column = 0;
        row++;
    }
}

/* Where row or column `i` of `n` is added, as many to each, and with which sign. */
static size_t place(double *sign, uint64_t i, uint64_t n, size_t room, uint64_t salt)
{
    *sign = n > room && lvlm_random_scramble(i * 2 + salt) >> 63 != 0 ? -1 : 1;
    return (size_t)(i % room);
}

static void add_differences(lvlm_altering *c, const double *a, const double *b,
                            uint64_t first, size_t n)
{
    const signatures *const s = &c->b;
    for (size_t i = 0; i < n; i++) {
        const double d = b[i] - a[i];
        double row_sign, column_sign;
        if (d == 0 || !isfinite(d)) continue;
        const uint64_t at = first + i;
        const size_t row =
            place(&row_sign, at / s->columns, s->rows, c->sketch_rows, 1);
        const size_t column =
            place(&column_sign, at % s->columns, s->columns, c->sketch_columns, 0);
        c->sketch[column * c->sketch_rows + row] += row_sign * column_sign * d;
    }
}

/* Sums of what remains of the difference if b is a multiple of a, or shifted. */
static void add_rests(lvlm_altering *c, const double *a, const double *b, size_t n)
{
    if (c->n == 0) c->first = b[0] - a[0];
    for (size_t i = 0; i < n; i++) {
        const double rest = b[i] - c->factor * a[i], d = b[i] - a[i] - c->first;
        c->rest2 += rest * rest;
        c->sum += d;
        c->sum2 += d * d;
    }
}

/* Values that are not a's rounded to b's type. */
static void count_unrounded(lvlm_altering *c, const double *a, const double *b,
                            size_t n)
{
    if (!lvlm_dtype_is_weight(c->b_dtype) || c->a_dtype == c->b_dtype) {
        c->n_unrounded += n;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char stored[sizeof(double)];
        double rounded;
        lvlm_convert_values(stored, c->b_dtype, &a[i], LVLM_F64, 1);
        lvlm_convert_values(&rounded, LVLM_F64, stored, c->b_dtype, 1);
        c->n_unrounded += bits_of(rounded) != bits_of(b[i]);
    }
}

void lvlm_altering_add(lvlm_altering *c, const double *a, const double *b,
                       uint64_t first, size_t n)
{
    sign_values(&c->a, a, first, n);
    sign_values(&c->b, b, first, n);
    add_differences(c, a, b, first, n);
    if (n > 0) add_rests(c, a, b, n);
    count_unrounded(c, a, b, n);
    c->n += n;
}

void lvlm_altering_signatures(uint64_t *a, uint64_t *b, const lvlm_altering *c)
{
    const signatures *const both[] = { &c->a, &c->b };
    uint64_t *const to[] = { a, b };
    for (size_t k = 0; k < 2; k++) {
        uint64_t sum = lvlm_random_scramble(both[k]->rows) + both[k]->columns;
        for (uint64_t i = 0; i < both[k]->rows; i++)
            sum += lvlm_random_scramble(both[k]->row[i] + i);
        *to[k] = sum;
    }
}

/* ---- another order --------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Sorts both. How many are in another place; 0: they are not the same in any order. */
static uint64_t count_moved(uint64_t *a, uint64_t n_a, uint64_t *b, uint64_t n_b)
{
    uint64_t moved = 0;
    if (n_a != n_b) return 0;
    for (uint64_t i = 0; i < n_a; i++) moved += a[i] != b[i];
    qsort(a, (size_t)n_a, sizeof *a, by_number);
    qsort(b, (size_t)n_b, sizeof *b, by_number);
    return memcmp(a, b, (size_t)n_a * sizeof *a) == 0 ? moved : 0;
}

static bool is_transposed(const signatures *a, const signatures *b)
{
    return a->rows == b->columns && a->columns == b->rows && a->rows > 1 &&
           a->columns > 1 &&
           memcmp(a->row, b->column, (size_t)a->rows * sizeof *a->row) == 0;
}

/* ---- rank ------------------------------------------------------------------------ */

/* Bits of the mantissa after the point. */
static int precision_of(lvlm_dtype dtype)
{
    switch (dtype) {
    case LVLM_BF16: return 7;
    case LVLM_F16: return 10;
    case LVLM_F32: return 23;
    default: return 52;
    }
}

/* What rounding leaves of a column of the sketch, at most: each value of the tensor is
 * off by up to half of its last bit, independently of the others; twice that is above
 * what was observed. */
static double rounding_of(const lvlm_altering *c, double b2)
{
    const int a = precision_of(c->a_dtype), b = precision_of(c->b_dtype);
    const double last_bit = ldexp(1, -(a < b ? a : b));
    return 2 * last_bit * sqrt(b2 / 12 / (double)c->sketch_columns);
}

/* The longest column from `first` on is swapped to that place; its length. */
static double choose_column(const lvlm_altering *c, size_t first)
{
    const size_t rows = c->sketch_rows;
    size_t best = first;
    double most = -1;
    for (size_t k = first; k < c->sketch_columns; k++) {
        const double *const column = c->sketch + k * rows;
        double length2 = 0;
        for (size_t i = 0; i < rows; i++) length2 += column[i] * column[i];
        if (length2 > most) most = length2, best = k;
    }
    for (size_t i = 0; i < rows && best != first; i++) {
        const double x = c->sketch[first * rows + i];
        c->sketch[first * rows + i] = c->sketch[best * rows + i];
        c->sketch[best * rows + i] = x;
    }
    return sqrt(most);
}

/* Take the direction of column `at` out of those after it (Gram and Schmidt). */
static void take_out(const lvlm_altering *c, size_t at, double length)
{
    const size_t rows = c->sketch_rows;
    const double *const q = c->sketch + at * rows;
    for (size_t k = at + 1; k < c->sketch_columns; k++) {
        double *const column = c->sketch + k * rows, dot = 0;
        for (size_t i = 0; i < rows; i++) dot += q[i] * column[i];
        dot /= length * length;
        for (size_t i = 0; i < rows; i++) column[i] -= dot * q[i];
    }
}

/* The step before the one that falls most, among those that end near rounding: what
 * remains of noise grows with the columns that were taken out. 0: there is none. */
static size_t find_fall(const double *lengths, size_t n, double rounding)
{
    size_t best = 0;
    double most = 1.5;
    for (size_t k = 1; k < n; k++) {
        const double fall = lengths[k - 1] / fmax(lengths[k], DBL_MIN);
        if (lengths[k] > 4 * rounding && lengths[k] > 1e-12 * lengths[0]) continue;
        if (fall > most) most = fall, best = k;
    }
    return best;
}

/* 0: above half of what the shape allows, or above MOST_RANK. */
static size_t find_rank(lvlm_altering *c, const lvlm_distance *d)
{
    const size_t least =
        c->sketch_rows < c->sketch_columns ? c->sketch_rows : c->sketch_columns;
    const size_t most = least / 2 < MOST_RANK ? least / 2 : MOST_RANK;
    const double rounding = rounding_of(c, d->b2);
    double lengths[MOST_RANK + 1];
    size_t n = 0;
    while (n <= most) {
        lengths[n] = choose_column(c, n);
        n++;
        if (lengths[n - 1] <= rounding || lengths[n - 1] <= 1e-12 * lengths[0]) break;
        if (n <= most) take_out(c, n - 1, lengths[n - 1]);
    }
    return find_fall(lengths, n, rounding);
}

/* ---- deciding -------------------------------------------------------------------- */

/* Is what remains of the difference rounding, and far less than all of it? */
static bool is_rounding(const lvlm_altering *c, double rest2, const lvlm_distance *d)
{
    const int a = precision_of(c->a_dtype), b = precision_of(c->b_dtype);
    const double last_bit = ldexp(1, -(a < b ? a : b));
    return rest2 <= 0.05 * d->difference2 &&
           rest2 <= last_bit * last_bit * (d->b2 + d->a2) / 4 +
                        16 * DBL_EPSILON * (d->b2 + d->a2);
}

static bool find_order(lvlm_alteration *out, lvlm_altering *c)
{
    if (is_transposed(&c->a, &c->b)) {
        *out = (lvlm_alteration){ .kind = LVLM_ALTERED_TRANSPOSED };
        return true;
    }
    out->moved = count_moved(c->a.row, c->a.rows, c->b.row, c->b.rows);
    out->kind = LVLM_ALTERED_ROWS;
    if (out->moved > 0) return true;
    out->moved = count_moved(c->a.column, c->a.columns, c->b.column, c->b.columns);
    out->kind = LVLM_ALTERED_COLUMNS;
    return out->moved > 0;
}

lvlm_alteration lvlm_altering_end(lvlm_altering *c, const lvlm_distance *d)
{
    lvlm_alteration out = { .kind = LVLM_ALTERED_ROUNDED };
    const double n = (double)c->n;
    if (c->n_unrounded == 0) return out;
    if (find_order(&out, c)) return out;
    if (d->n_bad > 0 || c->n < 2 || !lvlm_dtype_is_weight(c->a_dtype) ||
        !lvlm_dtype_is_weight(c->b_dtype))
        return (lvlm_alteration){ .kind = LVLM_ALTERED_OTHER };
    out = (lvlm_alteration){ .kind = LVLM_ALTERED_SCALED, .by = c->factor };
    if (c->factor != 0 && is_rounding(c, c->rest2, d)) return out;
    out =
        (lvlm_alteration){ .kind = LVLM_ALTERED_SHIFTED, .by = c->first + c->sum / n };
    if (is_rounding(c, c->sum2 - c->sum * (c->sum / n), d)) return out;
    out = (lvlm_alteration){ .kind = LVLM_ALTERED_LOW_RANK, .rank = find_rank(c, d) };
    if (out.rank > 0 && c->b.rows > 1) return out;
    return (lvlm_alteration){ .kind = LVLM_ALTERED_OTHER };
}
