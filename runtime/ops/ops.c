/* ops.c - scratch and threads. */
#include "runtime/ops/ops.h"

#include <assert.h>
#include <limits.h>
#include <omp.h>

size_t ops_largest(const size_t *sizes, size_t n)
{
    size_t most = 0;
    for (size_t i = 0; i < n; i++)
        if (sizes[i] > most) most = sizes[i];
    return most;
}

void ops_threads(size_t n_threads)
{
    assert(n_threads >= 1 && n_threads <= INT_MAX);
    omp_set_dynamic(0);
    omp_set_num_threads((int)n_threads);
    openblas_set_num_threads(1);
}
