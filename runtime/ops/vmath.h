/* vmath.h - functions of whole arrays that the compiler can vectorise.
 *
 * libm's expf and tanhf are calls the compiler keeps scalar unless -ffast-math is on;
 * the f32 versions here are polynomials, within 2 ulp. The f64 versions are libm's.
 * NaN stays NaN. Private to ops. */
#ifndef LVLM_RUNTIME_OPS_VMATH_H
#define LVLM_RUNTIME_OPS_VMATH_H

#include "runtime/ops/ops.h"

/* Functions with this macro are compiled for several instruction sets, the best is
 * picked when the program starts. Products and sums are never fused in any of them. */
#if defined __GNUC__ && !defined __clang__ && defined __x86_64__ &&                    \
    !defined __SANITIZE_ADDRESS__
#define LVLM_SIMD_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define LVLM_SIMD_CLONES
#endif

/* Memory that will be read soon, and how much of it one such call brings. */
#define LVLM_CACHE_LINE 64
#if defined __GNUC__
#define LVLM_PREFETCH(address) __builtin_prefetch(address)
#else
#define LVLM_PREFETCH(address) ((void)(address))
#endif

/* y = exp(x - shift), with x - shift first limited so that y is finite and not 0
 * (f32: about 1e-38 to 1e38). y may be x.  x, y (n) */
void vexp(real *y, const real *x, real shift, size_t n);
/* y = tanh(x). y may be x.  x, y (n) */
void vtanh(real *y, const real *x, size_t n);
/* Sum, and largest value (n >= 1), in an order that depends on n only.  x (n) */
real vsum(const real *x, size_t n);
real vmax(const real *x, size_t n);
/* Mean of x weighed by w (none negative), likewise; 0 without any weight.  w, x (n) */
double vmean(const real *w, const real *x, size_t n);

#endif
