/* resize.h - resamples a square table of vectors to another square. */
#ifndef LVLM_RUNTIME_OPS_RESIZE_H
#define LVLM_RUNTIME_OPS_RESIZE_H

#include "runtime/ops/ops.h"

/* Bicubic, a = -0.75, without antialiasing even when shrinking, corners not aligned:
 * torch's interpolate(mode="bicubic", align_corners=False). Indices are clamped to the
 * border. Equal sides copy. y (T,T,C) table (G,G,C) */
void resize_forward(real *y, const real *table, size_t G, size_t T, size_t C);
/* dtable += the transposed map of dy. dtable (G,G,C) dy (T,T,C) */
void resize_backward(real *dtable, const real *dy, size_t G, size_t T, size_t C);

#endif
