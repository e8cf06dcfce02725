/* output.h - where the sums of blocks go; private to runtime/kernel. */
#ifndef LVLM_RUNTIME_KERNEL_OUTPUT_H
#define LVLM_RUNTIME_KERNEL_OUTPUT_H

#include "runtime/kernel/multiply.h"

/* Rows [m, m + rows) and columns [n, n + columns) of `out` from sums (rows,line).
 * `first`: of all blocks of their sums; bias is added then. */
void lvlm_output_take(const lvlm_output *out, float *sums, size_t line, size_t m,
                      size_t n, size_t rows, size_t columns, bool first,
                      lvlm_turn *turn);

/* Prefetch what that will write. */
void lvlm_output_fetch(const lvlm_output *out, size_t m, size_t n, size_t rows,
                       size_t columns);

#endif
