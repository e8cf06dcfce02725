/* numeric.h - converts single floating-point values between storage types, bit by bit.
 *
 * Widening (bf16 or f16 to f32) is exact. Narrowing rounds to nearest, ties to even,
 * with overflow to infinity, as IEEE 754 and torch do; a NaN keeps its sign and top
 * bits and stays a NaN. So narrowing a widened value restores its bits, NaNs included.
 * For whole arrays see lvlm_convert_values. Every function may be called from several
 * threads at once. */
#ifndef LVLM_FORMATS_CONTAINER_NUMERIC_H
#define LVLM_FORMATS_CONTAINER_NUMERIC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "formats/container/dtype.h"

LVLM_BEGIN_DECLS

static inline float lvlm_f32_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t lvlm_bits_of_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float lvlm_f32_of_bf16(uint16_t half)
{
    return lvlm_f32_of_bits((uint32_t)half << 16);
}

static inline float lvlm_f32_of_f16(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = half >> 10 & 0x1fu, mantissa = half & 0x3ffu;
    if (exponent == 0x1f) return lvlm_f32_of_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) {
        if (mantissa == 0) return lvlm_f32_of_bits(sign);
        for (exponent = 1; (mantissa & 0x400u) == 0; exponent--) mantissa <<= 1;
        mantissa &= 0x3ffu;
    }
    return lvlm_f32_of_bits(sign | (exponent + 112u) << 23 | mantissa << 13);
}

/* The same without branches, for loops over many: 2^112 moves the exponent from f16's
 * bias to f32's and makes subnormals normal; infinities and NaN keep theirs. */
static inline float lvlm_f32_of_f16_fast(uint16_t half)
{
    const uint32_t spread = (uint32_t)(int32_t)(int16_t)half << 13;
    const float value = lvlm_f32_of_bits(spread & 0x8fffe000u) * 0x1p112f;
    const uint32_t top = (half & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u;
    return lvlm_f32_of_bits(lvlm_bits_of_f32(value) | top);
}

static inline uint16_t lvlm_bf16_of_f32(float value)
{
    const uint32_t bits = lvlm_bits_of_f32(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) { /* NaN: never rounded up to infinity */
        const uint16_t top = (uint16_t)(bits >> 16);
        return (top & 0x7fu) != 0 ? top : (uint16_t)(top | 0x40u);
    }
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static inline uint16_t lvlm_f16_of_f32(float value)
{
    const uint32_t bits = lvlm_bits_of_f32(value);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    const uint32_t rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u) {
        const uint16_t mantissa = (uint16_t)(rest >> 13 & 0x3ffu);
        return (uint16_t)(sign | 0x7c00u | (mantissa != 0 ? mantissa : 0x200u));
    }
    if (rest >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and above */
    if (rest < 0x33000000u) return sign;                        /* below 2^-25 */
    const uint32_t exponent = rest >> 23;
    /* the significand with its hidden bit, shifted so that one unit is one f16 step */
    const uint32_t shift = exponent < 113 ? 126 - exponent : 13;
    const uint32_t significand =
        exponent < 113 ? (rest & 0x7fffffu) | 0x800000u : rest - (112u << 23);
    const uint32_t odd = significand >> shift & 1u;
    return (uint16_t)(sign | (significand + (1u << (shift - 1)) - 1 + odd) >> shift);
}

/* `n` values from `from_dtype` to `to_dtype`, both of F16, BF16, F32, F64. The
 * arrays do not overlap and need no alignment. Between the 16-bit types the value
 * passes through f32; from F64 it is rounded once, to the target. */
void lvlm_convert_values(void *to, lvlm_dtype to_dtype, const void *from,
                         lvlm_dtype from_dtype, size_t n);

/* The effect of a conversion to another type. Values that were not finite before are
 * not counted. */
typedef struct lvlm_narrowing {
    uint64_t n;            /* values whose conversion may round */
    uint64_t n_rounded;    /* finite values that changed, including those below */
    uint64_t n_overflowed; /* ... that are infinite now */
    uint64_t n_flushed;    /* ... that are zero now and were not */
    /* largest |after - before| / |before| of values that are still finite */
    double max_relative;
} lvlm_narrowing;

/* Count `n` values `from` that became `to`. */
void lvlm_narrowing_count(lvlm_narrowing *sum, const void *to, lvlm_dtype to_dtype,
                          const void *from, lvlm_dtype from_dtype, size_t n);
void lvlm_narrowing_add(lvlm_narrowing *sum, const lvlm_narrowing *more);

LVLM_END_DECLS

#endif
