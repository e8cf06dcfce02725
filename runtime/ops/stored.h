/* stored.h - matrices in the dtype of the file that holds them. */
#ifndef LVLM_RUNTIME_OPS_STORED_H
#define LVLM_RUNTIME_OPS_STORED_H

#include "formats/container/dtype.h"
#include "runtime/ops/ops.h"

/* A matrix as stored in the file: row-major, F32, F64, BF16 or F16, aligned to its
 * element. Borrowed, usually from a mapping. data NULL: absent. */
typedef struct lvlm_stored {
    const void *data;
    lvlm_dtype dtype;
} lvlm_stored;

/* out[i] = w[first + i], i < n, converted to `real`: exact, except F64 read by the f32
 * build, which rounds to nearest.  out (n)  w (first + n or more) */
void stored_widen(real *out, lvlm_stored w, size_t first, size_t n);

/* w[first + i] = x[i], i < n, rounded to nearest, ties to even, where the dtype is
 * narrower than `real`. */
void stored_write(void *w, lvlm_dtype dtype, size_t first, const real *x, size_t n);

/* `w` from element `first` on, for instance one layer of a stacked tensor. */
lvlm_stored stored_at(lvlm_stored w, size_t first);

#endif
