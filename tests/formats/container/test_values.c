/* test_values.c - numeric.h and transform.h: conversion of values between types and
 * layouts, compared with independent computations. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/container/numeric.h"
#include "formats/container/transform.h"

/* ---- numeric -------------------------------------------------------------------- */

static void narrowing_what_was_widened_gives_the_same_bits(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        const uint16_t half = (uint16_t)i;
        assert_int_equal(lvlm_bf16_of_f32(lvlm_f32_of_bf16(half)), half);
        assert_int_equal(lvlm_f16_of_f32(lvlm_f32_of_f16(half)), half);
    }
}

/* The value of an f16 by its definition. */
static double f16_value(uint16_t half)
{
    const int exponent = half >> 10 & 31, mantissa = half & 1023;
    const double magnitude =
        exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, exponent - 25);
    return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

static void widening_f16_gives_its_value(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++)
        if ((i >> 10 & 31) != 31)
            assert_true(lvlm_f32_of_f16((uint16_t)i) == f16_value((uint16_t)i));
}

static uint64_t random_state = 88172645463325252u;

static uint32_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}

/* Neither neighbour in the target type is closer; ties go to the even one. */
static void check_nearest(double value, uint16_t got, double (*value_of)(uint16_t))
{
    const double error = fabs(value - value_of(got));
    for (int step = -1; step <= 1; step += 2) {
        const uint16_t other = (uint16_t)(got + step);
        if ((got & 0x7fff) == 0 && step < 0) continue;
        if (!isfinite(value_of(other))) continue;
        const double distance = fabs(value - value_of(other));
        assert_true(error < distance || (error == distance && (got & 1) == 0));
    }
}

static double bf16_value(uint16_t half)
{
    return lvlm_f32_of_bf16(half);
}

static double finite_f16_value(uint16_t half)
{
    return (half >> 10 & 31) == 31 ? INFINITY : f16_value(half);
}

static void narrowing_rounds_to_the_nearest_even(void **state)
{
    (void)state;
    for (int i = 0; i < 2000000; i++) {
        const uint32_t bits = random_bits();
        const float value = lvlm_f32_of_bits(bits);
        if (!isfinite(value)) continue;
        if (fabsf(value) < 3e38f)
            check_nearest(value, lvlm_bf16_of_f32(value), bf16_value);
        /* the same mantissa with an exponent of f16, ties included */
        const float small =
            lvlm_f32_of_bits((bits & 0x807ff000u) | (100 + random_bits() % 42) << 23);
        if (fabsf(small) < 65504)
            check_nearest(small, lvlm_f16_of_f32(small), finite_f16_value);
    }
}

static void narrowing_overflows_to_infinity_and_keeps_nan(void **state)
{
    (void)state;
    assert_int_equal(lvlm_f16_of_f32(65519.0f), 0x7bff);
    assert_int_equal(lvlm_f16_of_f32(65520.0f), 0x7c00);
    assert_int_equal(lvlm_f16_of_f32(-1e30f), 0xfc00);
    assert_int_equal(lvlm_f16_of_f32(ldexpf(1, -25)), 0);
    assert_int_equal(lvlm_f16_of_f32(nextafterf(ldexpf(1, -25), 1)), 1);
    assert_int_equal(lvlm_bf16_of_f32(3.4028234e38f), 0x7f80);
    assert_int_equal(lvlm_bf16_of_f32(lvlm_f32_of_bits(0x7f800001u)), 0x7fc0);
    assert_int_equal(lvlm_f16_of_f32(lvlm_f32_of_bits(0xff800001u)), 0xfe00);
}

static void doubles_are_rounded_once(void **state)
{
    /* just above a tie of bf16, but on the tie after rounding to f32 */
    const double value = 1 + ldexp(1, -8) + ldexp(1, -40);
    uint16_t half;
    (void)state;
    lvlm_convert_values(&half, LVLM_BF16, &value, LVLM_F64, 1);
    assert_int_equal(half, 0x3f81);
    const double below = -(1 + 3 * ldexp(1, -8) - ldexp(1, -40));
    lvlm_convert_values(&half, LVLM_BF16, &below, LVLM_F64, 1);
    assert_int_equal(half, 0xbf81);
}

static void arrays_convert_as_single_values_do(void **state)
{
    uint16_t bf16[1000], back[1000];
    float f32[1000];
    double f64[1000];
    (void)state;
    for (size_t i = 0; i < 1000; i++) bf16[i] = (uint16_t)random_bits();
    lvlm_convert_values(f32, LVLM_F32, bf16, LVLM_BF16, 1000);
    lvlm_convert_values(f64, LVLM_F64, bf16, LVLM_BF16, 1000);
    lvlm_convert_values(back, LVLM_BF16, f32, LVLM_F32, 1000);
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(lvlm_bits_of_f32(f32[i]), (uint32_t)bf16[i] << 16);
        assert_true(f64[i] == f32[i] || isnan(f64[i]));
    }
    assert_memory_equal(back, bf16, sizeof bf16);
}

static void narrowing_counts_what_does_not_fit(void **state)
{
    static const float values[] = { 1.0f, 1.0009765f, 70000.0f, -70000.0f, 1e-9f,
                                    0.0f, -0.0f,      INFINITY, NAN,       65504.0f };
    uint16_t half[10];
    lvlm_narrowing sum = { 0 };
    (void)state;
    lvlm_convert_values(half, LVLM_F16, values, LVLM_F32, 10);
    lvlm_narrowing_count(&sum, half, LVLM_F16, values, LVLM_F32, 10);
    assert_int_equal(sum.n, 10);
    /* without those that were infinite or NaN before */
    assert_int_equal(sum.n_rounded, 4);
    assert_int_equal(sum.n_overflowed, 2);
    assert_int_equal(sum.n_flushed, 1);
    assert_true(sum.max_relative == 1); /* 1e-9 became 0 */
    const lvlm_narrowing once = sum;
    lvlm_narrowing_add(&sum, &once);
    assert_int_equal(sum.n_overflowed, 4);
    /* widening is exact and not counted */
    lvlm_narrowing none = { 0 };
    lvlm_narrowing_count(&none, values, LVLM_F32, half, LVLM_F16, 10);
    lvlm_narrowing_count(&none, half, LVLM_F16, half, LVLM_F16, 10);
    assert_int_equal(none.n, 0);
}

/* ---- transform ------------------------------------------------------------------ */

static uint16_t source[24], parts[6][24], rebuilt[24];

/* Gather all parts piece by piece, rebuild the source from them, and compare. */
static void check_inverse(lvlm_transform t, size_t n_parts)
{
    lvlm_elements inputs[6];
    const uint64_t numel = 24 / n_parts;
    for (uint16_t i = 0; i < 24; i++) source[i] = i;
    memset(rebuilt, 0xff, sizeof rebuilt);
    for (size_t p = 0; p < n_parts; p++) {
        t.index = p;
        assert_int_equal(lvlm_transform_numel(&t), numel);
        for (uint64_t at = 0; at < numel; at += 5)
            assert_true(lvlm_transform_gather(parts[p] + at, at,
                                              numel - at < 5 ? numel - at : 5, &t,
                                              (lvlm_elements){ source, 24, 2 }));
        inputs[p] = (lvlm_elements){ parts[p], numel, 2 };
    }
    for (uint64_t at = 0; at < 24; at += 7)
        assert_true(lvlm_transform_scatter(rebuilt + at, at, 24 - at < 7 ? 24 - at : 7,
                                           &t, inputs, n_parts));
    assert_memory_equal(rebuilt, source, sizeof source);
}

static void transform_transposes(void **state)
{
    const lvlm_transform t = { .n = 2, .axes = { 4, 6 }, .order = { 1, 0 } };
    (void)state;
    check_inverse(t, 1);
    for (size_t i = 0; i < 6; i++)
        for (size_t j = 0; j < 4; j++)
            assert_int_equal(parts[0][i * 4 + j], source[j * 6 + i]);
}

static void transform_permutes(void **state)
{
    const lvlm_transform t = { .n = 3, .axes = { 2, 3, 4 }, .order = { 2, 0, 1 } };
    (void)state;
    check_inverse(t, 1);
    for (size_t a = 0; a < 2; a++)
        for (size_t b = 0; b < 3; b++)
            for (size_t c = 0; c < 4; c++)
                assert_int_equal(parts[0][c * 6 + a * 3 + b],
                                 source[a * 12 + b * 4 + c]);
}

/* Fused q, k, v in thirds. */
static void transform_splits_thirds(void **state)
{
    const lvlm_transform t = {
        .n = 3, .axes = { 3, 2, 4 }, .select = 1, .order = { 1, 2 }
    };
    (void)state;
    check_inverse(t, 3);
    assert_memory_equal(parts[1], source + 8, 16);
}

/* Fused q, k, v inside each of two heads, as OpenCLIP's in_proj of Qwen-VL. */
static void transform_splits_within_heads(void **state)
{
    const lvlm_transform t = {
        .n = 4, .axes = { 2, 3, 2, 2 }, .select = 2, .order = { 0, 2, 3 }
    };
    static const uint16_t k[] = { 4, 5, 6, 7, 16, 17, 18, 19 };
    (void)state;
    check_inverse(t, 3);
    assert_memory_equal(parts[1], k, sizeof k);
}

/* A stack of layers, transposed: big_vision's kernels. */
static void transform_takes_a_transposed_layer(void **state)
{
    const lvlm_transform t = {
        .n = 3, .axes = { 2, 3, 4 }, .select = 1, .order = { 2, 1 }
    };
    (void)state;
    check_inverse(t, 2);
    assert_int_equal(parts[1][1], 12 + 4);
}

/* One layer's transform, and the same with stacked layers: the result for layer 2 of 3
 * equals that of the single layer. */
static void transform_stacks_layers(void **state)
{
    static const lvlm_transform one[] = {
        { 0 },
        { .n = 2, .axes = { 2, 4 }, .order = { 1, 0 } },
        { .n = 3, .axes = { 2, 2, 2 }, .select = 1, .index = 1, .order = { 2, 1 } },
    };
    const lvlm_shape shape = { 2, { 2, 4 } };
    uint16_t alone[8], stacked[8];
    (void)state;
    for (size_t i = 0; i < sizeof one / sizeof one[0]; i++) {
        const lvlm_transform t = lvlm_transform_stack(&one[i], &shape, 3, 2);
        const uint64_t n = lvlm_transform_numel(&t);
        assert_int_equal(n, i == 2 ? 4 : 8);
        assert_int_equal(t.index, i == 2 ? 5 : 2);
        assert_true(
            lvlm_transform_gather(stacked, 0, n, &t, (lvlm_elements){ source, 24, 2 }));
        memcpy(alone, source + 16, sizeof alone);
        if (i > 0)
            assert_true(lvlm_transform_gather(alone, 0, n, &one[i],
                                              (lvlm_elements){ source + 16, 8, 2 }));
        assert_memory_equal(stacked, alone, (size_t)n * sizeof *alone);
        check_inverse(t, (size_t)(24 / n));
    }
}

/* Nothing is read outside an array, whatever the axes are. */
static void transform_refuses_arrays_of_other_sizes(void **state)
{
    const lvlm_transform t = { .n = 2, .axes = { 4, 6 }, .order = { 1, 0 } };
    const lvlm_transform wraps = { .n = 2,
                                   .axes = { UINT64_C(1) << 63, 48 },
                                   .order = { 1, 0 } };
    lvlm_transform third = { .n = 2, .axes = { 3, 8 }, .select = 1, .order = { 1 } };
    const lvlm_elements two[] = { { parts[0], 8, 2 }, { parts[1], 8, 2 } };
    const lvlm_elements odd[] = { two[0], two[1], { parts[2], 7, 2 } };
    (void)state;
    for (uint64_t n = 22; n < 27; n++)
        assert_int_equal(
            lvlm_transform_gather(rebuilt, 0, 24, &t, (lvlm_elements){ source, n, 2 }),
            n == 24);
    const lvlm_elements all = { source, 24, 2 };
    assert_false(lvlm_transform_gather(rebuilt, 0, 25, &t, all));
    assert_false(lvlm_transform_gather(rebuilt, 25, 0, &t, all));
    assert_false(lvlm_transform_gather(rebuilt, 1, UINT64_MAX, &t, all));
    assert_false(
        lvlm_transform_gather(rebuilt, 0, 0, &wraps, (lvlm_elements){ source, 0, 2 }));
    third.index = 3;
    assert_false(lvlm_transform_gather(rebuilt, 0, 8, &third, all));
    assert_false(lvlm_transform_scatter(rebuilt, 0, 24, &third, two, 2));
    assert_false(lvlm_transform_scatter(rebuilt, 0, 24, &third, odd, 3));
}

/* The selected axis may be the last one. */
static void transform_splits_the_innermost_axis(void **state)
{
    const lvlm_transform t = { .n = 2, .axes = { 12, 2 }, .select = 2, .order = { 0 } };
    (void)state;
    check_inverse(t, 2);
    assert_int_equal(parts[1][3], 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(narrowing_what_was_widened_gives_the_same_bits),
        cmocka_unit_test(widening_f16_gives_its_value),
        cmocka_unit_test(narrowing_rounds_to_the_nearest_even),
        cmocka_unit_test(narrowing_overflows_to_infinity_and_keeps_nan),
        cmocka_unit_test(doubles_are_rounded_once),
        cmocka_unit_test(arrays_convert_as_single_values_do),
        cmocka_unit_test(transform_transposes),
        cmocka_unit_test(transform_permutes),
        cmocka_unit_test(transform_splits_thirds),
        cmocka_unit_test(transform_splits_within_heads),
        cmocka_unit_test(transform_takes_a_transposed_layer),
        cmocka_unit_test(narrowing_counts_what_does_not_fit),
        cmocka_unit_test(transform_stacks_layers),
        cmocka_unit_test(transform_refuses_arrays_of_other_sizes),
        cmocka_unit_test(transform_splits_the_innermost_axis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
