/* ops.c - threads. */
#include "runtime/ops/ops.h"

#include <assert.h>
#include <limits.h>
#include <omp.h>

void ops_threads(size_t n_threads)
{
    assert(n_threads >= 1 && n_threads <= INT_MAX);
    omp_set_dynamic(0);
    omp_set_num_threads((int)n_threads);
    openblas_set_num_threads(1);
}
