/* loss.h - softcap and cross entropy per row. */
#ifndef LVLM_RUNTIME_OPS_LOSS_H
#define LVLM_RUNTIME_OPS_LOSS_H

#include "runtime/ops/ops.h"

/* y = cap * tanh(x / cap). y may be x.  x, y (n) */
void softcap_forward(real *y, const real *x, real cap, size_t n);

/* loss[n] = log sum_v exp(logits[n,v]) - logits[n,targets[n]], and 0 where the target
 * is negative; the sum is computed in double. Means over rows, examples or batches are
 * up to the caller.  loss (N)  logits (N,V)  targets (N), < V */
void cross_entropy_forward(double *loss, const real *logits, const int64_t *targets,
                           size_t N, size_t V);
/* Also the gradient of scale times the sum of these losses, in the place of logits:
 * scale * (softmax(logits[n]) - onehot(targets[n])), 0 where the target is negative;
 * with cap > 0 logits are softcap_forward(x), and the gradient is that of x.
 * loss (N)  logits (N,V)  targets (N), < V */
void cross_entropy_gradient(double *loss, real *logits, const int64_t *targets,
                            double scale, real cap, size_t N, size_t V);

#endif
