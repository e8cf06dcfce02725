/* adamw.h - one step of AdamW, computed as by torch.optim.AdamW, on plain arrays of
 * float or double.
 *
 * Results do not depend on the number of threads. */
#ifndef LVLM_RUNTIME_TUNE_ADAMW_H
#define LVLM_RUNTIME_TUNE_ADAMW_H

#include "formats/container/dtype.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_adamw {
    double lr, beta1, beta2, eps;
    double decay; /* weight decay, decoupled: w *= 1 - lr * decay first */
    double scale; /* of the gradients, before anything else */
} lvlm_adamw;

/* One trained tensor and its gradient: n values each, all F32 or all F64. */
typedef struct lvlm_adamw_arrays {
    lvlm_dtype dtype;
    void *w, *m, *v;
    const void *g;
    size_t n;
} lvlm_adamw_arrays;

/* m and v are the running means of g and its square; `step` counts from 1.
 *   g = scale g
 *   m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2
 *   w -= lr / (1 - beta1^step) * m / (sqrt(v / (1 - beta2^step)) + eps) */
void lvlm_adamw_step(const lvlm_adamw_arrays *arrays, size_t step,
                     const lvlm_adamw *options);

/* sum x^2, for the norm of all gradients together.  x (n), F32 or F64 */
double lvlm_sum_of_squares(lvlm_dtype dtype, const void *x, size_t n);

/* How many of the n values are infinite or NaN. */
size_t lvlm_not_finite(lvlm_dtype dtype, const void *x, size_t n);

LVLM_END_DECLS

#endif
