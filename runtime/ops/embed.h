/* embed.h - rows of a table by id. */
#ifndef LVLM_RUNTIME_OPS_EMBED_H
#define LVLM_RUNTIME_OPS_EMBED_H

#include "runtime/ops/stored.h"

/* y[n] = scale * table[ids[n]]. An id below 0 marks a row that is filled elsewhere: it
 * becomes 0 and has no gradient. y (N,C) table (V,C) ids (N), < V */
void embed_forward(real *y, lvlm_stored table, const int64_t *ids, real scale, size_t N,
                   size_t V, size_t C);
/* dtable[ids[n]] += scale * dy[n], in order of n, except for ids[n] == pad, which has
 * no gradient in torch. dtable (V,C) dy (N,C) ids (N) pad: -1 for none */
void embed_backward(real *dtable, const real *dy, const int64_t *ids, int64_t pad,
                    real scale, size_t N, size_t V, size_t C);

#endif
