/* plant_values.c - mistakes in the values of one native tensor; see kinds.h. */
#include <math.h>

#include "formats/base/text.h"
#include "formats/container/numeric.h"
#include "tests/convert/converted.h"
#include "tests/planted/kinds.h"

/* ---- single values --------------------------------------------------------------- */

/* The new value of each x. */
#define EACH(name, expression)                                                         \
    void name(plant_values *v, plant_values *other, double by)                         \
    {                                                                                  \
        (void)other;                                                                   \
        (void)by;                                                                      \
        for (size_t i = 0; i < v->n; i++) {                                            \
            const double x = v->x[i];                                                  \
            (void)x;                                                                   \
            v->x[i] = (expression);                                                    \
        }                                                                              \
    }

EACH(change_times, (x * by))
EACH(change_negate, -x)
EACH(change_add, x + by)
EACH(change_set_one, 1)
EACH(change_tanh, tanh(x))

/* Times the root of the width, to the power of `by`. */
void change_root_of_width(plant_values *v, plant_values *other, double by)
{
    change_times(v, other, pow((double)v->columns, by / 2));
}

static void through(plant_values *v, lvlm_dtype dtype)
{
    for (size_t i = 0; i < v->n; i++) {
        unsigned char bytes[sizeof(double)];
        lvlm_convert_values(bytes, dtype, &v->x[i], LVLM_F64, 1);
        lvlm_convert_values(&v->x[i], LVLM_F64, bytes, dtype, 1);
    }
}

void change_round_bf16(plant_values *v, plant_values *other, double by)
{
    (void)other;
    (void)by;
    through(v, LVLM_BF16);
}

void change_round_f16(plant_values *v, plant_values *other, double by)
{
    (void)other;
    (void)by;
    if (v->tensor->dtype == LVLM_F32) through(v, LVLM_F16);
}

/* To 127 steps of the largest. */
void change_rounded_to_integers(plant_values *v, plant_values *other, double by)
{
    double largest = 0;
    (void)other;
    for (size_t i = 0; i < v->n; i++) largest = fmax(largest, fabs(v->x[i]));
    for (size_t i = 0; i < v->n; i++)
        v->x[i] = rint(v->x[i] / largest * by) * largest / by;
}

/* One bit of the largest value, as it is stored; `by` counts from the highest. */
void change_flip_bit(plant_values *v, plant_values *other, double by)
{
    unsigned char bytes[sizeof(double)];
    const size_t bits = 8 * lvlm_dtype_bytes(v->tensor->dtype);
    const size_t bit = by < 0 ? 0 : bits - 1 - (size_t)by;
    size_t at = 0;
    (void)other;
    for (size_t i = 0; i < v->n; i++)
        if (fabs(v->x[i]) > fabs(v->x[at])) at = i;
    lvlm_convert_values(bytes, v->tensor->dtype, &v->x[at], LVLM_F64, 1);
    bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ 1U << bit % 8);
    lvlm_convert_values(&v->x[at], LVLM_F64, bytes, v->tensor->dtype, 1);
}

void change_nan(plant_values *v, plant_values *other, double by)
{
    (void)other;
    (void)by;
    v->x[v->n / 2] = (double)NAN;
}

/* ---- of another tensor ----------------------------------------------------------- */

void change_take(plant_values *v, plant_values *other, double by)
{
    (void)by;
    assert_int_equal(v->n, other->n);
    memcpy(v->x, other->x, v->n * sizeof *v->x);
}

void change_exchange(plant_values *v, plant_values *other, double by)
{
    (void)by;
    assert_int_equal(v->n, other->n);
    for (size_t i = 0; i < v->n; i++) {
        const double x = v->x[i];
        v->x[i] = other->x[i];
        other->x[i] = x;
    }
}

/* ---- orders ---------------------------------------------------------------------- */

/* (outer, n, inner): element k of the middle axis is element from(k, n) of before. */
static void reorder(plant_values *v, size_t outer, size_t n, size_t inner,
                    size_t (*from)(size_t k, size_t n))
{
    double *const copy = malloc((v->n + 1) * sizeof *copy);
    assert_non_null(copy);
    assert_int_equal(outer * n * inner, v->n);
    memcpy(copy, v->x, v->n * sizeof *copy);
    for (size_t o = 0; o < outer; o++)
        for (size_t k = 0; k < n; k++)
            memcpy(v->x + (o * n + k) * inner, copy + (o * n + from(k, n)) * inner,
                   inner * sizeof *copy);
    free(copy);
}

static size_t one_late(size_t k, size_t n)
{
    return (k + n - 1) % n;
}

static size_t backwards(size_t k, size_t n)
{
    return n - 1 - k;
}

static size_t first_exchanged(size_t k, size_t n)
{
    return k < 2 && n > 1 ? 1 - k : k;
}

static size_t to_pairs(size_t k, size_t n)
{
    return k / 2 + k % 2 * (n / 2);
}

static size_t to_halves(size_t k, size_t n)
{
    return k < n / 2 ? 2 * k : 2 * (k - n / 2) + 1;
}

static size_t square_root(size_t n)
{
    return (size_t)lrint(sqrt((double)n));
}

/* Of a square of n places; of a table with a class row before them, those after it. */
static size_t transposed(size_t k, size_t n)
{
    const size_t side = square_root(n);
    return k % side * side + k / side;
}

static size_t outside_in(size_t k, size_t n)
{
    const size_t side = square_root(n);
    return (side - 1 - k / side) * side + k % side;
}

/* Of four patches of a square: columns first. */
static size_t columns_first(size_t k, size_t n)
{
    return n == 4 && (k == 1 || k == 2) ? 3 - k : k;
}

#define ORDER(name, outer, n, inner, from)                                             \
    void name(plant_values *v, plant_values *other, double by)                         \
    {                                                                                  \
        (void)other;                                                                   \
        (void)by;                                                                      \
        reorder(v, outer, n, inner, from);                                             \
    }

ORDER(change_rows_shifted, 1, v->rows, v->columns, one_late)
ORDER(change_rows_reversed, 1, v->rows, v->columns, backwards)
ORDER(change_rows_exchanged, 1, v->rows, v->columns, first_exchanged)
ORDER(change_columns_shifted, v->rows, v->columns, 1, one_late)

void change_transpose(plant_values *v, plant_values *other, double by)
{
    (void)by;
    (void)other;
    if (v->rows == v->columns) reorder(v, 1, v->n, 1, transposed);
}

void change_squares(plant_values *v, plant_values *other, double by)
{
    (void)other;
    (void)by;
    if (plant_count(v->p, "vision.merge") == 2)
        reorder(v, v->rows, 4, v->columns / 4, columns_first);
}

/* ---- heads ----------------------------------------------------------------------- */

static size_t head_dim(const plant_values *v)
{
    const char *const name = v->target->name;
    const size_t heads = plant_count(v->p, "connector.heads");
    if (lvlm_starts_with(name, "text.")) return plant_count(v->p, "text.head_dim");
    if (lvlm_starts_with(name, "vision.")) return plant_count(v->p, "vision.head_dim");
    return heads > 0 ? v->rows / heads : v->rows;
}

/* The columns of what leaves attention, rows of what enters it. */
static void reorder_heads(plant_values *v, size_t (*from)(size_t k, size_t n))
{
    const size_t D = head_dim(v);
    if (strstr(v->target->name, ".out.weight") != NULL)
        reorder(v, v->rows, v->columns / D, D, from);
    else
        reorder(v, 1, v->rows / D, D * v->columns, from);
}

void change_heads_reversed(plant_values *v, plant_values *other, double by)
{
    (void)other;
    (void)by;
    reorder_heads(v, backwards);
}

void change_head_lost(plant_values *v, plant_values *other, double by)
{
    (void)other;
    (void)by;
    memset(v->x, 0, head_dim(v) * v->columns * sizeof *v->x);
}

ORDER(change_to_pairs, v->rows / head_dim(v), head_dim(v), v->columns, to_pairs)
ORDER(change_to_halves, v->rows / head_dim(v), head_dim(v), v->columns, to_halves)

/* ---- rows and columns ------------------------------------------------------------ */

void change_row_zero(plant_values *v, plant_values *other, double by)
{
    (void)other;
    (void)by;
    memset(v->x + v->rows / 2 * v->columns, 0, v->columns * sizeof *v->x);
}

/* Three rows in eight: whatever ids a text has, some are among them. */
void change_some_rows_zero(plant_values *v, plant_values *other, double by)
{
    (void)other;
    (void)by;
    for (size_t r = 0; r < v->rows; r++)
        if (r % 8 >= 5) memset(v->x + r * v->columns, 0, v->columns * sizeof *v->x);
}

void change_last_row_zero(plant_values *v, plant_values *other, double by)
{
    (void)other;
    (void)by;
    memset(v->x + v->n - v->columns, 0, v->columns * sizeof *v->x);
}

void change_first_row_zero(plant_values *v, plant_values *other, double by)
{
    (void)other;
    (void)by;
    memset(v->x, 0, v->columns * sizeof *v->x);
}

void change_column_zero(plant_values *v, plant_values *other, double by)
{
    (void)other;
    (void)by;
    for (size_t r = 0; r < v->rows; r++) v->x[r * v->columns + v->columns / 2] = 0;
}

/* ---- patches --------------------------------------------------------------------- */

/* Axes of the kernel, [out, channels, frames, side, side]. */
typedef struct kernel_axes {
    size_t channels, frames, side;
} kernel_axes;

static kernel_axes axes_of(const plant_values *v)
{
    const lvlm_shape *const s = &v->tensor->shape;
    assert_true(s->n == 4 || s->n == 5);
    return (kernel_axes){ (size_t)s->dims[1], s->n == 5 ? (size_t)s->dims[2] : 1,
                          (size_t)s->dims[s->n - 1] };
}

ORDER(change_channels_reversed, v->rows, axes_of(v).channels,
      v->columns / axes_of(v).channels, backwards)
ORDER(change_kernel_transposed, v->rows *axes_of(v).channels *axes_of(v).frames,
      axes_of(v).side *axes_of(v).side, 1, transposed)
ORDER(change_kernel_mirrored, v->n / axes_of(v).side, axes_of(v).side, 1, backwards)

void change_frames_exchanged(plant_values *v, plant_values *other, double by)
{
    const kernel_axes a = axes_of(v);
    (void)other;
    (void)by;
    if (a.frames > 1)
        reorder(v, v->rows * a.channels, a.frames, a.side * a.side, backwards);
}

/* ---- positions ------------------------------------------------------------------- */

/* The places of the grid, without the class row before them. */
static void reorder_grid(plant_values *v, size_t (*from)(size_t k, size_t n))
{
    const size_t side = square_root(v->rows), first = v->rows - side * side;
    plant_values grid = *v;
    if (first > 1) return;
    grid.x += first * v->columns;
    grid.n -= first * v->columns;
    reorder(&grid, 1, v->rows - first, v->columns, from);
}

void change_grid_transposed(plant_values *v, plant_values *other, double by)
{
    (void)other;
    (void)by;
    reorder_grid(v, transposed);
}

void change_grid_reversed(plant_values *v, plant_values *other, double by)
{
    (void)other;
    (void)by;
    reorder_grid(v, outside_in);
}

/* ---- tiles and states ------------------------------------------------------------ */

/* [ids, tiles, ...] */
ORDER(change_tiles_reversed, v->rows, (size_t)v->target->shape.dims[1],
      v->columns / (size_t)v->target->shape.dims[1], backwards)

/* Columns of the projection after the first state, where feature d of state k is
 * column hidden + K d + k: as if the states were side by side. */
void change_states_apart(plant_values *v, plant_values *other, double by)
{
    const size_t hidden = plant_count(v->p, "vision.hidden");
    const size_t states =
        lvlm_json_count(lvlm_json_path(v->p->manifest.config, "vision.taps"));
    double *const copy = malloc((v->n + 1) * sizeof *copy);
    (void)other;
    (void)by;
    assert_non_null(copy);
    memcpy(copy, v->x, v->n * sizeof *copy);
    for (size_t r = 0; r < v->rows && states > 0; r++)
        for (size_t k = 0; k < states; k++)
            for (size_t d = 0; d < hidden; d++)
                v->x[r * v->columns + hidden + k * hidden + d] =
                    copy[r * v->columns + hidden + d * states + k];
    free(copy);
}
