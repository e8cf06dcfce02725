/* nudge.h - changes the last bit of values, to measure a computation's sensitivity. */
#ifndef LVLM_RUNTIME_OPS_NUDGE_H
#define LVLM_RUNTIME_OPS_NUDGE_H

#include "runtime/ops/ops.h"

/* x[i] times 1 plus or minus an epsilon, the sign pseudo-random and the same in every
 * run; 0 stays 0.  x (n) */
void nudge_forward(real *x, size_t n);

#endif
