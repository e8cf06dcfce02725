/* ops.h - conventions of all ops: letters, scratch memory, threads.
 *
 *   N rows   I, O input and output features   C channels   V vocabulary
 *   Tq, Tk query and key rows   D width of one head   P patches   p patch side
 *
 * All arrays are dense and row-major. x_forward overwrites its outputs; x_backward
 * ACCUMULATES into gradients (+=, so the caller zeroes them once) and skips every
 * gradient whose pointer is NULL; gradients are the only outputs that it reads. Ops
 * allocate nothing and keep no state; sizes are asserted, not reported. Outputs may
 * overlap inputs only where the op permits it. Results are bit-identical for every
 * number of threads. */
#ifndef LVLM_RUNTIME_OPS_OPS_H
#define LVLM_RUNTIME_OPS_OPS_H

#include "runtime/real.h"

/* Loops below this many elements run on one thread: starting a team costs more. */
#define LVLM_PARALLEL_MIN 16384

static inline size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Memory that an op may overwrite while it runs; borrowed. One buffer serves all ops of
 * a model: its size is the largest x_scratch() of all calls. */
typedef struct ops_scratch {
    real *data;       /* (numel); 64-byte alignment is faster, not required */
    size_t numel;     /* elements, not bytes */
    size_t n_threads; /* >= 1; the team size of ops that take scratch */
    unsigned terms;   /* of bf16 that operands of linear maps and of attention are
                         rounded to, where linear.h and attention.h do it: 1 or 2; 0:
                         they are not rounded */
} ops_scratch;

/* The largest of some x_scratch(): LARGEST(a, b, ...). */
#define LARGEST(...)                                                                   \
    ops_largest((const size_t[]){ __VA_ARGS__ },                                       \
                sizeof(size_t[]){ __VA_ARGS__ } / sizeof(size_t))
size_t ops_largest(const size_t *sizes, size_t n);

/* Set OpenMP's team size to `n_threads` for the calling thread and OpenBLAS, which is
 * called inside the teams, to one thread. Process-wide for OpenBLAS: call it once at
 * start, before any other op, with the n_threads of every ops_scratch. */
void ops_threads(size_t n_threads);

#endif
