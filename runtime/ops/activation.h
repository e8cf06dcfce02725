/* activation.h - elementwise activations, plain and gated. */
#ifndef LVLM_RUNTIME_OPS_ACTIVATION_H
#define LVLM_RUNTIME_OPS_ACTIVATION_H

#include "runtime/ops/ops.h"

/* To add one: a row here, a function pair and a case in activation.c, a test row. */
typedef enum lvlm_activation {
    LVLM_ACTIVATION_GELU_TANH,  /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    LVLM_ACTIVATION_GELU,       /* x/2 (1 + erf(x / sqrt(2))) */
    LVLM_ACTIVATION_QUICK_GELU, /* x / (1 + exp(-1.702 x)) */
    LVLM_ACTIVATION_SILU,       /* x / (1 + exp(-x)) */
    LVLM_ACTIVATION_RELU,       /* x where it is above 0, else 0 */
    LVLM_ACTIVATION_IDENTITY,   /* x */
    LVLM_N_ACTIVATIONS,
} lvlm_activation;

/* y = act(g) * u, or act(g) where u is NULL. y may be g or u.  g, u, y (n) */
void activation_forward(real *y, const real *g, const real *u, lvlm_activation act,
                        size_t n);
/* dg += dy * u * act'(g), du += dy * act(g); either may be NULL, and both are without
 * u where that is.  dg, du, dy, g, u (n) */
void activation_backward(real *dg, real *du, const real *dy, const real *g,
                         const real *u, lvlm_activation act, size_t n);

#endif
