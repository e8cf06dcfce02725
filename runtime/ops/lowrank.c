/* lowrank.c - the low-rank part of an adapted linear map.
 *
 *   forward   h = d(x) A^T           y  += s h B^T
 *   backward  g = s dy B             dx += d'(g A)
 *             dB += s dy^T h         dA += g^T d(x) h is recomputed
 *
 *   scratch   h (BLOCK,r) | g (BLOCK,r) | a tile of dropped rows per thread
 *
 * Rows are processed in blocks of BLOCK; each is split into tiles of rows, or of a
 * gradient's columns. Each sum has one fixed order, whatever the number of threads. */
#include "runtime/ops/lowrank.h"

#include <assert.h>
#include <omp.h>
#include <string.h>

#include "formats/base/random.h"
#include "runtime/ops/dropout.h"
#include "runtime/ops/gemm.h"
#include "runtime/ops/linear.h"

enum {
    BLOCK = 512,   /* rows of x per block */
    ROWS = 64,     /* of x in a tile */
    COLUMNS = 256, /* of a gradient in a tile */
};

/* The length of h and of g, in whole cache lines. */
static size_t inner_numel(size_t r)
{
    return BLOCK * r; /* BLOCK is a multiple of a line's elements */
}

size_t lowrank_scratch(size_t I, size_t r, size_t n_threads)
{
    return 2 * inner_numel(r) + n_threads * ROWS * I;
}

static real *tile_of(const ops_scratch *scratch, size_t I, size_t r)
{
    return scratch->data + 2 * inner_numel(r) + (size_t)omp_get_thread_num() * ROWS * I;
}

/* ---- dropout -------------------------------------------------------------------- */

static bool drops(const lowrank *w)
{
    return w->noise != NULL && w->noise->active && w->noise->rate > 0;
}

/* out = d(x), or += when `add`, of rows [n, n + rows), columns [i, i + cols) of a
 * matrix that is I wide.  x (rows,cols) of row stride ldx  out the same of ldo */
static void drop(real *out, size_t ldo, const real *x, size_t ldx, const lowrank *w,
                 size_t n, size_t rows, size_t i, size_t cols, size_t I, bool add)
{
    const lowrank_noise *const noise = w->noise;
    assert(i + cols <= I);
    const uint64_t own = lvlm_random_scramble(w->stream);
    const uint64_t stream = lvlm_random_scramble(noise->key ^ own);
    for (size_t row = 0; row < rows; row++)
        dropout_values(out + row * ldo, x + row * ldx, noise->rate, stream,
                       (n + row) * I + i, cols, add);
}

/* ---- forward -------------------------------------------------------------------- */

/* Rows [first, first + N) of a map's input, N <= BLOCK, and the related arrays. */
typedef struct block {
    const lowrank *w;
    size_t first, N, I, O;
    const real *x; /* (N,I) */
    real *h, *g;   /* (N,r) scratch */
    const ops_scratch *scratch;
} block;

static block block_of(const lowrank *w, const real *x, size_t first, size_t N, size_t I,
                      size_t O, const ops_scratch *scratch)
{
    return (block){ .w = w,
                    .first = first,
                    .N = min_size(BLOCK, N - first),
                    .I = I,
                    .O = O,
                    .x = x + first * I,
                    .h = scratch->data,
                    .g = scratch->data + inner_numel(w->r),
                    .scratch = scratch };
}

/* h = d(x) A^T */
static void inner(const block *b)
{
    const lowrank *const w = b->w;
    const size_t N = b->N, I = b->I, r = w->r, n_tiles = (N + ROWS - 1) / ROWS;
    memset(b->h, 0, N * r * sizeof *b->h);
#pragma omp parallel for schedule(dynamic, 1)                                          \
    num_threads((int)b->scratch->n_threads) if (N * I * r > LVLM_PARALLEL_MIN)
    for (size_t t = 0; t < n_tiles; t++) {
        const size_t n = t * ROWS, rows = min_size(ROWS, N - n);
        const real *from = b->x + n * I;
        if (drops(w)) {
            real *const tile = tile_of(b->scratch, I, r);
            drop(tile, I, from, I, w, b->first + n, rows, 0, I, I, false);
            from = tile;
        }
        gemm_nt(b->h + n * r, r, from, I, w->a, I, rows, r, I, 1, 1);
    }
}

/* y += s h B^T */
static void outer(real *y, const block *b)
{
    const lowrank *const w = b->w;
    const size_t N = b->N, O = b->O, r = w->r, n_rows = (N + ROWS - 1) / ROWS;
    const size_t n_cols = (O + COLUMNS - 1) / COLUMNS;
#pragma omp parallel for collapse(2) schedule(dynamic, 1)                              \
    num_threads((int)b->scratch->n_threads) if (N * r * O > LVLM_PARALLEL_MIN)
    for (size_t t = 0; t < n_rows; t++)
        for (size_t c = 0; c < n_cols; c++) {
            const size_t n = t * ROWS, o = c * COLUMNS;
            gemm_nt(y + n * O + o, O, b->h + n * r, r, w->b + o * r, r,
                    min_size(ROWS, N - n), min_size(COLUMNS, O - o), r, w->scale, 1);
        }
}

void lowrank_forward(real *y, const real *x, const lowrank *w, size_t N, size_t I,
                     size_t O, const ops_scratch *scratch)
{
    assert(I > 0 && O > 0 && w->r > 0 && y != x);
    assert(scratch->numel >= lowrank_scratch(I, w->r, scratch->n_threads));
    const size_t step = N <= LINEAR_ALIKE ? 1 : BLOCK; /* few: as linear.h has it */
    for (size_t first = 0; first < N; first += step) {
        const block b = block_of(w, x, first, min_size(first + step, N), I, O, scratch);
        inner(&b);
        outer(y + first * O, &b);
    }
}

/* ---- backward ------------------------------------------------------------------- */

/* g = s dy B, and dx += d'(g A), by tiles of rows. */
static void back_to_x(real *dx, const real *dy, const block *b)
{
    const lowrank *const w = b->w;
    const size_t N = b->N, I = b->I, O = b->O, r = w->r;
    const size_t n_tiles = (N + ROWS - 1) / ROWS;
    memset(b->g, 0, N * r * sizeof *b->g);
#pragma omp parallel for schedule(dynamic, 1)                                          \
    num_threads((int)b->scratch->n_threads) if (N * r * (I + O) > LVLM_PARALLEL_MIN)
    for (size_t t = 0; t < n_tiles; t++) {
        const size_t n = t * ROWS, rows = min_size(ROWS, N - n);
        real *const g = b->g + n * r;
        gemm_nn(g, r, dy + n * O, O, w->b, r, rows, r, O, w->scale, 1);
        if (dx == NULL) continue;
        if (!drops(w)) {
            gemm_nn(dx + n * I, I, g, r, w->a, I, rows, I, r, 1, 1);
            continue;
        }
        real *const tile = tile_of(b->scratch, I, r);
        memset(tile, 0, rows * I * sizeof *tile);
        gemm_nn(tile, I, g, r, w->a, I, rows, I, r, 1, 1);
        drop(dx + n * I, I, tile, I, w, b->first + n, rows, 0, I, I, true);
    }
}

/* da += g^T d(x), by tiles of columns. */
static void add_da(const block *b)
{
    const lowrank *const w = b->w;
    const size_t N = b->N, I = b->I, r = w->r, n_tiles = (I + COLUMNS - 1) / COLUMNS;
#pragma omp parallel for schedule(dynamic, 1)                                          \
    num_threads((int)b->scratch->n_threads) if (N * I * r > LVLM_PARALLEL_MIN)
    for (size_t t = 0; t < n_tiles; t++) {
        const size_t i = t * COLUMNS, cols = min_size(COLUMNS, I - i);
        if (!drops(w)) {
            gemm_tn(w->da + i, I, b->g, r, b->x + i, I, r, cols, N, 1, 1);
            continue;
        }
        real *const tile = tile_of(b->scratch, I, r);
        for (size_t n = 0; n < N; n += ROWS) {
            const size_t rows = min_size(ROWS, N - n);
            drop(tile, cols, b->x + n * I + i, I, w, b->first + n, rows, i, cols, I,
                 false);
            gemm_tn(w->da + i, I, b->g + n * r, r, tile, cols, r, cols, rows, 1, 1);
        }
    }
}

/* db += s dy^T h, by tiles of rows of db. */
static void add_db(const real *dy, const block *b)
{
    const lowrank *const w = b->w;
    const size_t N = b->N, O = b->O, r = w->r, n_tiles = (O + COLUMNS - 1) / COLUMNS;
#pragma omp parallel for schedule(dynamic, 1)                                          \
    num_threads((int)b->scratch->n_threads) if (N * O * r > LVLM_PARALLEL_MIN)
    for (size_t t = 0; t < n_tiles; t++) {
        const size_t o = t * COLUMNS, rows = min_size(COLUMNS, O - o);
        gemm_tn(w->db + o * r, r, dy + o, O, b->h, r, rows, r, N, w->scale, 1);
    }
}

void lowrank_backward(real *dx, const real *dy, const real *x, const lowrank *w,
                      size_t N, size_t I, size_t O, const ops_scratch *scratch)
{
    assert(I > 0 && O > 0 && w->r > 0 && dx != dy);
    assert(x != NULL || (w->da == NULL && w->db == NULL));
    assert(scratch->numel >= lowrank_scratch(I, w->r, scratch->n_threads));
    for (size_t first = 0; first < N; first += BLOCK) {
        const block b = block_of(w, x, first, N, I, O, scratch);
        back_to_x(dx != NULL ? dx + first * I : NULL, dy + first * O, &b);
        if (w->da != NULL) add_da(&b);
        if (w->db == NULL) continue;
        inner(&b);
        add_db(dy + first * O, &b);
    }
}
