/* numeric.c - converts arrays of values between storage types, in blocks. */
#include "formats/container/numeric.h"

#include <assert.h>
#include <math.h>

enum { BLOCK = 256 };

/* Round a double to f32 "to odd", so that rounding once more to a 16-bit type gives the
 * correctly rounded result (Boldo & Melquiond 2008: the intermediate has at least two
 * more bits than the target). */
static float narrow_to_odd(double value)
{
    const float nearest = (float)value;
    if ((double)nearest == value || value != value) return nearest;
    uint32_t bits = lvlm_bits_of_f32(nearest);
    if ((bits & 0x7fffffffu) == 0x7f800000u)
        return nearest; /* overflow stays infinite */
    const double back = nearest;
    const int away = value > 0 ? back > value : back < value;
    if (away) bits--;                   /* truncate toward zero ... */
    return lvlm_f32_of_bits(bits | 1u); /* ... and record that bits were lost */
}

static void load_f32(float *to, const unsigned char *from, lvlm_dtype dtype, size_t n,
                     int to_odd)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        double wide;
        switch (dtype) {
        case LVLM_F16:
            memcpy(&half, from + 2 * i, 2);
            to[i] = lvlm_f32_of_f16(half);
            break;
        case LVLM_BF16:
            memcpy(&half, from + 2 * i, 2);
            to[i] = lvlm_f32_of_bf16(half);
            break;
        case LVLM_F32: memcpy(&to[i], from + 4 * i, 4); break;
        default:
            assert(dtype == LVLM_F64);
            memcpy(&wide, from + 8 * i, 8);
            to[i] = to_odd ? narrow_to_odd(wide) : (float)wide;
        }
    }
}

static void store_f32(unsigned char *to, lvlm_dtype dtype, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        double wide;
        switch (dtype) {
        case LVLM_F16:
            half = lvlm_f16_of_f32(from[i]);
            memcpy(to + 2 * i, &half, 2);
            break;
        case LVLM_BF16:
            half = lvlm_bf16_of_f32(from[i]);
            memcpy(to + 2 * i, &half, 2);
            break;
        case LVLM_F32: memcpy(to + 4 * i, &from[i], 4); break;
        default:
            assert(dtype == LVLM_F64);
            wide = from[i];
            memcpy(to + 8 * i, &wide, 8);
        }
    }
}

void lvlm_convert_values(void *to, lvlm_dtype to_dtype, const void *from,
                         lvlm_dtype from_dtype, size_t n)
{
    assert(lvlm_dtype_is_weight(to_dtype) && lvlm_dtype_is_weight(from_dtype));
    const size_t to_bytes = lvlm_dtype_bytes(to_dtype);
    const size_t from_bytes = lvlm_dtype_bytes(from_dtype);
    unsigned char *out = to;
    const unsigned char *in = from;
    if (to_dtype == from_dtype) {
        if (n > 0) memcpy(to, from, n * to_bytes);
        return;
    }
    float block[BLOCK];
    while (n > 0) {
        const size_t some = n < BLOCK ? n : BLOCK;
        load_f32(block, in, from_dtype, some, to_bytes == 2);
        store_f32(out, to_dtype, block, some);
        in += some * from_bytes;
        out += some * to_bytes;
        n -= some;
    }
}

/* ---- what does not fit ---------------------------------------------------------- */

/* Are there values of `from` that `to` cannot represent? */
static bool narrows(lvlm_dtype to, lvlm_dtype from)
{
    return to != from && lvlm_dtype_bytes(to) <= lvlm_dtype_bytes(from);
}

static void count_one(lvlm_narrowing *sum, double before, double after)
{
    if (before == after || !isfinite(before)) return;
    sum->n_rounded++;
    if (!isfinite(after)) sum->n_overflowed++;
    if (after == 0) sum->n_flushed++;
    const double relative = fabs(after - before) / fabs(before);
    if (isfinite(after) && relative > sum->max_relative) sum->max_relative = relative;
}

void lvlm_narrowing_count(lvlm_narrowing *sum, const void *to, lvlm_dtype to_dtype,
                          const void *from, lvlm_dtype from_dtype, size_t n)
{
    assert(lvlm_dtype_is_weight(to_dtype) && lvlm_dtype_is_weight(from_dtype));
    double before[BLOCK], after[BLOCK];
    const size_t to_bytes = lvlm_dtype_bytes(to_dtype);
    const size_t from_bytes = lvlm_dtype_bytes(from_dtype);
    const unsigned char *out = to, *in = from;
    if (!narrows(to_dtype, from_dtype)) return;
    sum->n += n;
    for (size_t some; n > 0;
         n -= some, in += some * from_bytes, out += some * to_bytes) {
        some = n < BLOCK ? n : BLOCK;
        lvlm_convert_values(before, LVLM_F64, in, from_dtype, some);
        lvlm_convert_values(after, LVLM_F64, out, to_dtype, some);
        for (size_t i = 0; i < some; i++) count_one(sum, before[i], after[i]);
    }
}

void lvlm_narrowing_add(lvlm_narrowing *sum, const lvlm_narrowing *more)
{
    sum->n += more->n;
    sum->n_rounded += more->n_rounded;
    sum->n_overflowed += more->n_overflowed;
    sum->n_flushed += more->n_flushed;
    if (more->max_relative > sum->max_relative) sum->max_relative = more->max_relative;
}
