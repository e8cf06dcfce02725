/* output.h - where the sums of blocks go; private to runtime/kernel. */
#ifndef LVLM_RUNTIME_KERNEL_OUTPUT_H
#define LVLM_RUNTIME_KERNEL_OUTPUT_H

#include "runtime/kernel/multiply.h"

/* Complete sums (rows,line) of rows [m, m + rows) and columns [n, n + columns). */
typedef struct lvlm_sums {
    const float *data;
    size_t line, m, n, rows, columns;
} lvlm_sums;

/* They go to `out`. `first`: of all blocks of their sums; bias is added then. `pours`:
 * lvlm_output_pours said so, and there is one block; what is whole is poured. */
void lvlm_output_take(const lvlm_output *out, const lvlm_sums *sums, bool first,
                      bool pours, const lvlm_kernel *kernel);

/* Is (M,N) so large that it leaves the caches before it is read, and of a layout that
 * `pour` of kernels writes? */
bool lvlm_output_pours(const lvlm_output *out, size_t M, size_t N);

/* Prefetch what that will write. */
void lvlm_output_fetch(const lvlm_output *out, size_t m, size_t n, size_t rows,
                       size_t columns);

#endif
