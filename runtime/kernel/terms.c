/* terms.c - values as terms of bf16; see terms.h. */
#include "runtime/kernel/terms.h"

#include <string.h>

#include "formats/container/numeric.h"
#include "runtime/kernel/clones.h"
#include "runtime/kernel/pack.h"

enum { PAIRS = LVLM_STEP / 2 };

/* x to bf16 in the upper half of the result, and what is left of x to *rest. What would
 * round to infinity is cut; of infinity and NaN nothing is left. Without branches, so
 * that loops over it are vectorised. */
static inline uint32_t take_term(float *rest, float x)
{
    const uint32_t bits = lvlm_bits_of_f32(x), exponent = 0x7f800000u;
    const uint32_t rounded = bits + 0x7fffu + (bits >> 16 & 1u);
    const uint32_t nan = (bits & 0x7fffffffu) > exponent ? 0x400000u : 0u;
    const uint32_t all = (rounded & exponent) == exponent ? bits | nan : rounded;
    const uint32_t term = all & 0xffff0000u;
    const uint32_t left = lvlm_bits_of_f32(x - lvlm_f32_of_bits(term));
    *rest = lvlm_f32_of_bits((bits & exponent) == exponent ? 0 : left);
    return term;
}

LVLM_SIMD_CLONES static void take_steps(char *to, size_t apart, const float *from,
                                        size_t n_steps)
{
    for (size_t s = 0; s < n_steps; s++, to += apart, from += LVLM_STEP) {
        uint16_t *const term = (uint16_t *)(void *)to;
#pragma omp simd
        for (size_t i = 0; i < LVLM_STEP; i++) {
            float rest;
            term[i] = (uint16_t)(take_term(&rest, from[i]) >> 16);
        }
    }
}

LVLM_SIMD_CLONES static void take_steps_off(char *to, size_t apart, float *rest,
                                            const float *from, size_t n_steps)
{
    for (size_t s = 0; s < n_steps; s++, to += apart) {
        uint16_t *const term = (uint16_t *)(void *)to;
#pragma omp simd
        for (size_t i = s * LVLM_STEP; i < (s + 1) * LVLM_STEP; i++)
            term[i - s * LVLM_STEP] = (uint16_t)(take_term(&rest[i], from[i]) >> 16);
    }
}

void lvlm_take_steps(char *to, size_t apart, float *rest, const float *from,
                     size_t n_steps)
{
    if (rest == NULL)
        take_steps(to, apart, from, n_steps);
    else
        take_steps_off(to, apart, rest, from, n_steps);
}

LVLM_SIMD_CLONES static void take_pairs(uint32_t *to, const float *from, size_t ld)
{
    for (size_t p = 0; p < PAIRS; p++, from += 2 * ld, to += LVLM_PANEL)
#pragma omp simd
        for (size_t c = 0; c < LVLM_PANEL; c++) {
            float rest;
            const uint32_t even = take_term(&rest, from[c]);
            to[c] = take_term(&rest, from[ld + c]) | even >> 16;
        }
}

LVLM_SIMD_CLONES static void take_pairs_off(uint32_t *to, float *rest,
                                            const float *from, size_t ld)
{
    for (size_t p = 0; p < PAIRS;
         p++, from += 2 * ld, rest += 2 * LVLM_PANEL, to += LVLM_PANEL)
#pragma omp simd
        for (size_t c = 0; c < LVLM_PANEL; c++) {
            const float x = from[c], y = from[ld + c];
            const uint32_t even = take_term(&rest[c], x);
            to[c] = take_term(&rest[LVLM_PANEL + c], y) | even >> 16;
        }
}

void lvlm_take_pairs(char *to, float *rest, const float *from, size_t ld)
{
    uint32_t *const pairs = (uint32_t *)(void *)to;
    if (rest == NULL)
        take_pairs(pairs, from, ld);
    else
        take_pairs_off(pairs, rest, from, ld);
}

/* Panels share lines of memory: all of two rows are read before the next. */
LVLM_SIMD_CLONES static void copy_pairs(char *to, size_t panel, size_t n_panels,
                                        const uint16_t *from, size_t ld)
{
    for (size_t p = 0; p < PAIRS; p++, from += 2 * ld, to += 2 * LVLM_PANEL * 2)
        for (size_t i = 0; i < n_panels; i++) {
            uint32_t *const pairs = (uint32_t *)(void *)(to + i * panel);
            const uint16_t *const row = from + i * LVLM_PANEL;
#pragma omp simd
            for (size_t c = 0; c < LVLM_PANEL; c++)
                pairs[c] = row[c] | (uint32_t)row[ld + c] << 16;
        }
}

void lvlm_copy_pairs(char *to, size_t panel, size_t n_panels, const uint16_t *from,
                     size_t ld)
{
    copy_pairs(to, panel, n_panels, from, ld);
}

/* ---- rounding -------------------------------------------------------------------- */

LVLM_SIMD_CLONES static void round_to_one(float *out, const float *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float rest;
        out[i] = lvlm_f32_of_bits(take_term(&rest, x[i]));
    }
}

LVLM_SIMD_CLONES static void round_to_two(float *out, const float *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float rest;
        const float first = lvlm_f32_of_bits(take_term(&rest, x[i]));
        out[i] = first + lvlm_f32_of_bits(take_term(&rest, rest));
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

/* ---- widening -------------------------------------------------------------------- */

LVLM_SIMD_CLONES static void load_bf16(float *to, const uint16_t *from, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) to[i] = lvlm_f32_of_bf16(from[i]);
}

LVLM_SIMD_CLONES static void load_f16(float *to, const uint16_t *from, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) to[i] = lvlm_f32_of_f16_fast(from[i]);
}

LVLM_SIMD_CLONES static void widen_columns(float *to, const uint16_t *from, size_t ld,
                                           size_t n)
{
    for (size_t i = 0; i < n; i++, from += ld, to += LVLM_PANEL)
#pragma omp simd
        for (size_t c = 0; c < LVLM_PANEL; c++) to[c] = lvlm_f32_of_bf16(from[c]);
}

void lvlm_widen_bf16(float *to, const uint16_t *from, size_t n)
{
    load_bf16(to, from, n);
}

void lvlm_widen_f16(float *to, const uint16_t *from, size_t n)
{
    load_f16(to, from, n);
}

void lvlm_widen_columns(float *to, const uint16_t *from, size_t ld, size_t n)
{
    widen_columns(to, from, ld, n);
}
