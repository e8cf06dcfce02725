/* reshape_positions.c - a square table of positions at another size.
 *
 * Separable: each output is a sum of 4 x 4 taps whose weights are products of two
 * cubics. runtime/ops/resize.c does the same in the precision of a forward pass. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/reshape/reshape.h"

enum { TAPS = 4 };

typedef struct taps {
    uint64_t at[TAPS];
    double weight[TAPS];
} taps;

/* The cubic convolution kernel at distance x < 1, and at 1 <= x < 2. */
static double near(double x)
{
    const double a = -0.75;
    return ((a + 2) * x - (a + 3)) * x * x + 1;
}

static double far(double x)
{
    const double a = -0.75;
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
}

/* The taps of output `o`. */
static taps taps_of(uint64_t o, const uint64_t grid[2])
{
    const double at = ((double)o + 0.5) * ((double)grid[0] / (double)grid[1]) - 0.5;
    const double base = floor(at), t = at - base;
    taps out = { .weight = { far(1 + t), near(t), near(1 - t), far(2 - t) } };
    for (size_t i = 0; i < TAPS; i++) {
        const double index = base - 1 + (double)i, last = (double)(grid[0] - 1);
        out.at[i] = (uint64_t)fmin(fmax(index, 0), last);
    }
    return out;
}

/* out (W); table (from, from, W) */
static void interpolate(double *out, const double *table, const taps *v, const taps *h,
                        uint64_t from, size_t W)
{
    memset(out, 0, W * sizeof *out);
    for (size_t i = 0; i < TAPS * TAPS; i++) {
        const double w = v->weight[i / TAPS] * h->weight[i % TAPS];
        const double *const in = table + (v->at[i / TAPS] * from + h->at[i % TAPS]) * W;
        for (size_t c = 0; c < W; c++) out[c] += w * in[c];
    }
}

int lvlm_reshape_positions(void *grid, const lvlm_step *step, lvlm_sink *sink,
                           lvlm_error *err)
{
    const uint64_t *const g = grid, from = g[0], to = g[1];
    const lvlm_tensor *const in = step->inputs[0];
    const size_t n = in->shape.n;
    assert(n >= 2 && step->out.shape.n == n && from > 0 && to > 0);
    const size_t W = (size_t)in->shape.dims[n - 1];
    const uint64_t rows = in->shape.dims[n - 2], square = from * from;
    const uint64_t n_tables = lvlm_tensor_numel(in) / (rows * W);
    const size_t bytes = lvlm_dtype_bytes(in->dtype);
    assert(rows >= square && rows - square + to * to == step->out.shape.dims[n - 2]);
    double *const table = lvlm_calloc((size_t)square * W, sizeof *table);
    double *const out = lvlm_calloc(W, sizeof *out);
    const int rc = table != NULL && out != NULL ? 0 : lvlm_fail_memory(err);
    for (uint64_t k = 0; rc == 0 && k < n_tables; k++) {
        const size_t before = (size_t)(rows - square) * W;
        const unsigned char *const data = in->data + k * rows * W * bytes;
        lvlm_sink_put(sink, in->dtype, data, before);
        lvlm_convert_values(table, LVLM_F64, data + before * bytes, in->dtype,
                            (size_t)square * W);
        for (uint64_t o = 0; o < to * to; o++) {
            const taps v = taps_of(o / to, g), h = taps_of(o % to, g);
            interpolate(out, table, &v, &h, from, W);
            lvlm_sink_put(sink, LVLM_F64, out, W);
        }
    }
    lvlm_free(table);
    lvlm_free(out);
    return rc;
}
