/* vmath.h - functions of arrays that the compiler can vectorise.
 *
 * libm's expf, tanhf and erff are calls that the compiler keeps scalar without
 * -ffast-math; the f32 versions here are polynomials, within 2 ulp. The f64 versions
 * are libm's. NaN stays NaN. Private to ops. */
#ifndef LVLM_RUNTIME_OPS_VMATH_H
#define LVLM_RUNTIME_OPS_VMATH_H

#include "runtime/kernel/clones.h"
#include "runtime/ops/ops.h"

/* y = exp(x - shift), at most about 1e38 (f64: 1e307); 0 below 2^-100 (f64: 2^-900),
 * negligible next to the 1 of softmax's largest term. Values above can be scaled a few
 * times before they become denormal, which is a hundred times slower on many
 * processors. y may be x. x, y (n) */
void vexp(real *y, const real *x, real shift, size_t n);
/* y = tanh(x), y = erf(x). y may be x.  x, y (n) */
void vtanh(real *y, const real *x, size_t n);
void verf(real *y, const real *x, size_t n);
/* Sum, and largest value (n >= 1), in an order that depends on n only.  x (n) */
real vsum(const real *x, size_t n);
real vmax(const real *x, size_t n);
/* Mean of x weighted by w (none negative), also in that order; 0 if all weights are 0.
 * w, x (n) */
double vmean(const real *w, const real *x, size_t n);

#endif
