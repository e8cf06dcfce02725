/* resample.c - separable resampling of bytes with integer weights; see resample.h. */
#include "runtime/prepare/image/resample.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "formats/base/arena.h"
#include "formats/base/size.h"

enum {
    CHANNELS = 3,
    PILLOW_BITS = 22, /* 32 minus 8 of a level and 2 for weights beyond 1 */
    TORCH_MOST_BITS = 22,
    TORCH_WEIGHT_LIMIT = 1 << 15,
    CHUNK = 1024, /* sums of a row that are kept in cache */
};

/* ---- filters -------------------------------------------------------------------- */

static double triangle(double x)
{
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* The outer branch is factored as in each library: the last bit of the double depends
 * on it. */
static double cubic(double x, bool torch)
{
    const double a = -0.5;
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x >= 2.0) return 0.0;
    return torch ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
                 : (((x - 5) * x + 8) * x - 4) * a;
}

static double filter_at(double x, const lvlm_resize *to)
{
    return to->filter == LVLM_FILTER_BILINEAR
               ? triangle(fabs(x))
               : cubic(fabs(x), to->resampling == LVLM_RESAMPLING_TORCHVISION);
}

/* ---- weights -------------------------------------------------------------------- */

/* Sizes of one axis, and which values of the result are computed: [from, from + n). */
typedef struct axis {
    size_t n_in, n_out;
    size_t from, n;
} axis;

/* The taps of each value: a weighted sum of count[i] values from first[i]. */
typedef struct taps {
    size_t n_in, n_out;    /* values that are computed */
    size_t most;           /* capacity of weights per value */
    size_t *first, *count; /* (n_out) */
    double *exact;         /* (n_out,most) */
    int32_t *weights;      /* (n_out,most) exact * 2^bits, rounded */
    unsigned bits;
} taps;

static int taps_make(taps *t, const axis *a, double support, lvlm_arena *arena,
                     lvlm_error *err)
{
    const size_t rows = a->n + 1; /* and one for a value that is not kept */
    uint64_t numel;
    *t = (taps){ .n_in = a->n_in, .n_out = a->n };
    t->most = (size_t)ceil(support) * 2 + 1;
    if (!lvlm_mul_u64(&numel, rows, t->most)) return lvlm_fail_memory(err);
    t->first = lvlm_arena_alloc(arena, rows, sizeof *t->first);
    t->count = lvlm_arena_alloc(arena, rows, sizeof *t->count);
    t->exact = lvlm_arena_alloc(arena, (size_t)numel, sizeof *t->exact);
    t->weights = lvlm_arena_alloc(arena, (size_t)numel, sizeof *t->weights);
    const bool whole =
        t->first != NULL && t->count != NULL && t->exact != NULL && t->weights != NULL;
    return whole ? 0 : lvlm_fail_memory(err);
}

/* The weights of the values from `first` around `centre`; they sum to 1. Returns the
 * largest. */
static double weigh(double *weights, size_t n, size_t first, double centre,
                    double per_step, const lvlm_resize *to)
{
    double sum = 0, largest = 0;
    for (size_t k = 0; k < n; k++) {
        weights[k] = filter_at(((double)(k + first) - centre + 0.5) * per_step, to);
        sum += weights[k];
    }
    for (size_t k = 0; k < n && sum != 0; k++) {
        weights[k] /= sum;
        if (weights[k] > largest) largest = weights[k];
    }
    return largest;
}

/* The largest number of bits with which the largest weight fits a 16-bit integer. */
static unsigned torch_bits(double largest)
{
    unsigned bits = 0;
    while (bits < TORCH_MOST_BITS &&
           (int)(0.5 + largest * (double)(1 << (bits + 1))) < TORCH_WEIGHT_LIMIT)
        bits++;
    return bits;
}

static void round_weights(taps *t)
{
    const double one = (double)(1 << t->bits);
    for (size_t i = 0; i < t->n_out * t->most; i++) {
        const double w = t->exact[i] * one;
        t->weights[i] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
    }
}

/* Torch's bits follow from the largest weight of all values, kept or not. */
static int taps_plan(taps *t, const axis *a, const lvlm_resize *to, lvlm_arena *arena,
                     lvlm_error *err)
{
    const double radius = to->filter == LVLM_FILTER_BILINEAR ? 1.0 : 2.0;
    const bool torch = to->resampling == LVLM_RESAMPLING_TORCHVISION;
    const double scale = (double)a->n_in / (double)a->n_out;
    const double widened = scale > 1.0 ? scale : 1.0;
    const double support = radius * widened;
    double largest = 0;
    TRY(taps_make(t, a, support, arena, err));
    const size_t begin = torch ? 0 : a->from;
    const size_t stop = torch ? a->n_out : a->from + a->n;
    for (size_t i = begin; i < stop; i++) {
        const bool kept = i >= a->from && i - a->from < a->n;
        const size_t k = kept ? i - a->from : a->n;
        const double centre = ((double)i + 0.5) * scale;
        const double low = centre - support + 0.5, high = centre + support + 0.5;
        const size_t first = low > 0 ? (size_t)low : 0;
        const size_t end = high < (double)a->n_in ? (size_t)high : a->n_in;
        assert(end > first && end - first <= t->most);
        t->first[k] = first;
        t->count[k] = end - first;
        const double w = weigh(t->exact + k * t->most, end - first, first, centre,
                               1.0 / widened, to);
        if (w > largest) largest = w;
    }
    t->bits = torch ? torch_bits(largest) : PILLOW_BITS;
    round_weights(t);
    return 0;
}

/* ---- two passes ----------------------------------------------------------------- */

static unsigned char to_byte(int32_t sum, unsigned bits)
{
    const int32_t level = sum >> bits;
    return (unsigned char)(level < 0 ? 0 : level > 255 ? 255 : level);
}

/* out (rows,n_out,3)  in (rows,n_in,3) */
static void resample_across(unsigned char *out, const unsigned char *in, size_t rows,
                            const taps *t)
{
    assert(t->bits > 0);
    const int32_t half = 1 << (t->bits - 1);
    for (size_t y = 0; y < rows; y++) {
        const unsigned char *const row = in + y * t->n_in * CHANNELS;
        for (size_t i = 0; i < t->n_out; i++) {
            const unsigned char *from = row + t->first[i] * CHANNELS;
            const int32_t *const w = t->weights + i * t->most;
            const size_t n = t->count[i];
            int32_t r = half, g = half, b = half;
            for (size_t k = 0; k < n; k++, from += CHANNELS) {
                r += w[k] * from[0];
                g += w[k] * from[1];
                b += w[k] * from[2];
            }
            *out++ = to_byte(r, t->bits);
            *out++ = to_byte(g, t->bits);
            *out++ = to_byte(b, t->bits);
        }
    }
}

/* Bytes [0, n) of one row; rows of `in` are row_bytes apart. */
static void sum_rows(unsigned char *out, const unsigned char *in, size_t n,
                     size_t row_bytes, const int32_t *w, size_t n_rows, unsigned bits)
{
    int32_t sums[CHUNK];
    assert(n <= CHUNK);
    for (size_t j = 0; j < n; j++) sums[j] = 1 << (bits - 1);
    for (size_t k = 0; k < n_rows; k++, in += row_bytes)
        for (size_t j = 0; j < n; j++) sums[j] += w[k] * in[j];
    for (size_t j = 0; j < n; j++) out[j] = to_byte(sums[j], bits);
}

/* out (n_out,row_bytes)  in (n_in,row_bytes) */
static void resample_down(unsigned char *out, const unsigned char *in, size_t row_bytes,
                          const taps *t)
{
    for (size_t i = 0; i < t->n_out; i++) {
        const unsigned char *const top = in + t->first[i] * row_bytes;
        for (size_t j = 0; j < row_bytes; j += CHUNK) {
            const size_t n = row_bytes - j < CHUNK ? row_bytes - j : CHUNK;
            sum_rows(out + i * row_bytes + j, top + j, n, row_bytes,
                     t->weights + i * t->most, t->count[i], t->bits);
        }
    }
}

/* The axis from left to right, or from top to bottom. */
static axis axis_of(const lvlm_image *in, bool across, const lvlm_resize *to)
{
    const bool all = to->keep.width == 0;
    const axis x = { in->width, to->width, all ? 0 : to->keep.x,
                     all ? to->width : to->keep.width };
    const axis y = { in->height, to->height, all ? 0 : to->keep.y,
                     all ? to->height : to->keep.height };
    return across ? x : y;
}

static bool changes(const axis *a)
{
    return a->n_in != a->n_out || a->n != a->n_out;
}

/* Resample one axis. One of unchanged size that is only cut has weights of 1. */
static int resample_axis(lvlm_image *out, const lvlm_image *in, bool across,
                         const lvlm_resize *to, lvlm_error *err)
{
    const axis a = axis_of(in, across, to);
    lvlm_arena arena = LVLM_ARENA_INIT;
    taps t;
    assert(a.n > 0 && a.from + a.n <= a.n_out);
    int rc = taps_plan(&t, &a, to, &arena, err);
    if (rc == 0)
        rc = lvlm_image_make(out, across ? a.n : in->width, across ? in->height : a.n,
                             err);
    if (rc == 0 && across)
        resample_across(out->pixels, in->pixels, in->height, &t);
    else if (rc == 0)
        resample_down(out->pixels, in->pixels, in->width * CHANNELS, &t);
    lvlm_arena_free(&arena);
    return rc;
}

/* Which axis is first. */
static bool starts_across(const lvlm_image *in, const lvlm_resize *to)
{
    if (to->resampling != LVLM_RESAMPLING_PILLOW || in->height <= to->height)
        return true;
    const size_t narrower = in->width > to->width ? in->width - to->width : 0;
    return in->height - to->height <= 2 * narrower;
}

static int copy_image(lvlm_image *out, const lvlm_image *in, lvlm_error *err)
{
    TRY(lvlm_image_make(out, in->width, in->height, err));
    memcpy(out->pixels, in->pixels, in->width * in->height * CHANNELS);
    return 0;
}

int lvlm_image_resize(lvlm_image *out, const lvlm_image *in, const lvlm_resize *to,
                      lvlm_error *err)
{
    const bool across = starts_across(in, to);
    const axis x = axis_of(in, true, to), y = axis_of(in, false, to);
    const bool wide = changes(&x), high = changes(&y);
    lvlm_image between = { 0 };
    assert(in->width > 0 && in->height > 0 && to->width > 0 && to->height > 0);
    *out = (lvlm_image){ 0 };
    if (!wide && !high) return copy_image(out, in, err);
    if (wide != high) return resample_axis(out, in, wide, to, err);
    int rc = resample_axis(&between, in, across, to, err);
    if (rc == 0) rc = resample_axis(out, &between, !across, to, err);
    lvlm_image_free(&between);
    return rc;
}

int lvlm_image_place(lvlm_image *out, const lvlm_image *in, const lvlm_window *at,
                     const unsigned char colour[3], lvlm_error *err)
{
    assert(at->x + in->width <= at->width && at->y + in->height <= at->height);
    TRY(lvlm_image_make(out, at->width, at->height, err));
    for (size_t i = 0; i < at->width * at->height * CHANNELS; i++)
        out->pixels[i] = colour[i % CHANNELS];
    for (size_t y = 0; y < in->height; y++)
        memcpy(out->pixels + ((at->y + y) * at->width + at->x) * CHANNELS,
               in->pixels + y * in->width * CHANNELS, in->width * CHANNELS);
    return 0;
}
