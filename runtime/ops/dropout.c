/* dropout.c - dropout by counter-based random numbers; see dropout.h. */
#include "runtime/ops/dropout.h"

#include "formats/base/random.h"

enum { CHUNK = 64 }; /* random numbers at a time */

uint64_t dropout_stream(const dropout *d, size_t row, size_t head)
{
    assert(d->rows != NULL);
    const uint64_t own = lvlm_random_scramble(d->rows[row]);
    return lvlm_random_scramble(lvlm_random_scramble(d->stream ^ own) + head);
}

void dropout_values(real *out, const real *x, double rate, uint64_t stream,
                    uint64_t first, size_t n, bool add)
{
    const uint64_t limit = (uint64_t)(rate * 0x1p32);
    const real keep = (real)(1 / (1 - rate));
    uint64_t bits[CHUNK];
    assert(rate > 0 && rate < 1);
    for (size_t i = 0; i < n; i += CHUNK) {
        const size_t some = min_size(CHUNK, n - i);
        lvlm_random_bits(bits, stream, first + i, some);
        for (size_t j = 0; j < some; j++) {
            const real value = bits[j] >> 32 >= limit ? keep * x[i + j] : 0;
            out[i + j] = add ? out[i + j] + value : value;
        }
    }
}

void dropout_rows(real *x, const dropout *d, const size_t *at, size_t M, size_t C)
{
    if (!dropout_drops(d)) return;
#pragma omp parallel for schedule(static) if (M * C > LVLM_PARALLEL_MIN)
    for (size_t m = 0; m < M; m++) {
        const uint64_t stream = dropout_stream(d, at != NULL ? at[m] : m, 0);
        dropout_values(x + m * C, x + m * C, d->rate, stream, 0, C, false);
    }
}
