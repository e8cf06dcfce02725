/* vmath.h - functions of arrays that the compiler can vectorise.
 *
 * libm's expf and tanhf are calls that the compiler keeps scalar without -ffast-math;
 * the f32 versions here are polynomials, within 2 ulp. The f64 versions are libm's. NaN
 * stays NaN. Private to ops. */
#ifndef LVLM_RUNTIME_OPS_VMATH_H
#define LVLM_RUNTIME_OPS_VMATH_H

#include "runtime/ops/ops.h"

/* Static functions with this macro are compiled for several instruction sets; the best
 * is chosen when the program starts, before sanitizers are initialised. Products and
 * sums are never fused in any of them. */
#define LVLM_SIMD_CLONES
#if defined __has_attribute && defined __x86_64__ && !defined LVLM_SANITIZED
#if __has_attribute(target_clones)
#undef LVLM_SIMD_CLONES
#define LVLM_SIMD_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#endif
#endif

/* Prefetch memory, and the number of bytes that one call fetches. */
#define LVLM_CACHE_LINE 64
#if defined __GNUC__
#define LVLM_PREFETCH(address) __builtin_prefetch(address)
#else
#define LVLM_PREFETCH(address) ((void)(address))
#endif

/* y = exp(x - shift), at most about 1e38 (f64: 1e307); 0 below 2^-100 (f64: 2^-900),
 * negligible next to the 1 of softmax's largest term. Values above can be scaled a few
 * times before they become denormal, which is a hundred times slower on many
 * processors. y may be x. x, y (n) */
void vexp(real *y, const real *x, real shift, size_t n);
/* y = tanh(x). y may be x.  x, y (n) */
void vtanh(real *y, const real *x, size_t n);
/* Sum, and largest value (n >= 1), in an order that depends on n only.  x (n) */
real vsum(const real *x, size_t n);
real vmax(const real *x, size_t n);
/* Mean of x weighted by w (none negative), also in that order; 0 if all weights are 0.
 * w, x (n) */
double vmean(const real *w, const real *x, size_t n);

#endif
