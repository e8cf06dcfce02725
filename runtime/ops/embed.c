/* embed.c - rows of a table by id. */
#include "runtime/ops/embed.h"

#include <assert.h>
#include <string.h>

#define COLUMN_BLOCK 64 /* columns that one thread scatters at a time, rows in order */

void embed_forward(real *y, lvlm_stored table, const int64_t *ids, real scale, size_t N,
                   size_t V, size_t C)
{
    assert(table.data != NULL);
#pragma omp parallel for schedule(static) if (N * C > LVLM_PARALLEL_MIN)
    for (size_t n = 0; n < N; n++) {
        real *row = y + n * C;
        if (ids[n] < 0) {
            memset(row, 0, C * sizeof *row);
            continue;
        }
        assert((uint64_t)ids[n] < V);
        stored_widen(row, table, (size_t)ids[n] * C, C);
        for (size_t c = 0; c < C; c++) row[c] *= scale;
    }
    (void)V;
}

void embed_backward(real *dtable, const real *dy, const int64_t *ids, int64_t pad,
                    real scale, size_t N, size_t V, size_t C)
{
    if (dtable == NULL) return;
#pragma omp parallel for schedule(static) if (N * C > LVLM_PARALLEL_MIN)
    for (size_t begin = 0; begin < C; begin += COLUMN_BLOCK) {
        const size_t end = begin + COLUMN_BLOCK < C ? begin + COLUMN_BLOCK : C;
        for (size_t n = 0; n < N; n++) {
            if (ids[n] < 0 || ids[n] == pad) continue;
            assert((uint64_t)ids[n] < V);
            real *row = dtable + (size_t)ids[n] * C;
            for (size_t c = begin; c < end; c++) row[c] += scale * dy[n * C + c];
        }
    }
    (void)V;
}
