/* linear.c - y = x w^T + b with the weight in its stored dtype.
 *
 *   forward   for each tile (rows of y, columns of y):      y  = sum over blocks of I
 *   dx        for each tile (rows of dx, columns of dx):    dx += sum over blocks of O
 *   dw        for each tile (rows of dw, columns of dw):    dw += one product over N
 *
 * Above LINEAR_ALIKE rows of x the processor's own kernels do it where it has some
 * (product.h); the rest of this page is how OpenBLAS does it. A tile is one thread's
 * work and its sum has one fixed order, so the result does not depend on how many
 * threads share the tiles. If w is not `real`, the panel of w that a product needs is
 * widened to the thread's scratch, which stays in cache; where operands are rounded so
 * is the block of the other one.
 *
 * Forward, a few rows of x are limited by memory: nothing is rounded there. */
#include "runtime/ops/linear.h"

#include <assert.h>
#include <omp.h>

#include "formats/base/size.h"
#include "runtime/kernel/pack.h"
#include "runtime/ops/gemm.h"
#include "runtime/ops/gemv.h"
#include "runtime/ops/product.h"

_Static_assert((int)LINEAR_ALIKE == (int)GEMV_MOST_VECTORS, "few rows of x");

#define PANEL_ROWS 576 /* most rows of w widened at once */
#define PANEL_COLS 512 /* most columns widened at once: with the rows, 1.1 MiB of f32 */
#define TILE_ROWS 512  /* most rows of x in one product */
#define ROUND_ROWS 128 /* the same where they are rounded */
#define GEMV_ROWS 128  /* rows of w in one product for few rows of x, at least, */
#define GEMV_MOST 512  /* and at most: each product starts to fetch anew */
#define FEW_ROWS 32    /* up to here panels are smaller, to fit a nearer cache */
#define FEW_CELLS 1024 /* of FEW_CELLS / N rows, for N rows of x */
#define ROWS_AHEAD 4   /* prefetch distance in stored rows */

/* The length of `n` equal pieces of `total`, in whole cache lines. */
static size_t length_of(size_t total, size_t n)
{
    return lvlm_round_up((total + n - 1) / n, 16);
}

/* The length of equal pieces of `total`, none above `most` (a multiple of 16). */
static size_t piece(size_t total, size_t most)
{
    return length_of(total, (total + most - 1) / most);
}

/* The same for tiles shared by threads: a multiple of four if `total` is not small, so
 * that teams of 2 and 4 threads are balanced. */
static size_t shared_piece(size_t total, size_t most)
{
    const size_t n = (total + most - 1) / most;
    return length_of(total, total >= most / 4 ? lvlm_round_up(n, 4) : n);
}

static size_t n_pieces(size_t total, size_t length)
{
    return (total + length - 1) / length;
}

/* Most rows of w widened at once for N rows of x. */
static size_t panel_rows(size_t N)
{
    return N <= FEW_ROWS ? min_size(lvlm_round_up(FEW_CELLS / N, 16), PANEL_ROWS)
                         : PANEL_ROWS;
}

static size_t panel_numel(size_t I, size_t O)
{
    return lvlm_round_up(min_size(O, PANEL_ROWS) * min_size(I, PANEL_COLS), 64);
}

/* Of a block of x or dy that is rounded. */
static size_t block_numel(size_t I, size_t O)
{
    return ROUND_ROWS * min_size(max_size(I, O), PANEL_ROWS);
}

/* Of a thread: a panel or a block, and in float another block. */
static size_t thread_numel(size_t I, size_t O)
{
    if (LVLM_REAL_BITS == 64) return panel_numel(I, O);
    return max_size(panel_numel(I, O), block_numel(I, O)) + block_numel(I, O);
}

size_t linear_scratch(size_t I, size_t O, size_t n_threads)
{
    return LARGEST(product_scratch(I, O, n_threads), thread_numel(I, O) * n_threads,
                   gemv_packed_numel(I));
}

static size_t tile_rows(const ops_scratch *scratch)
{
    return scratch->terms == 0 ? TILE_ROWS : ROUND_ROWS;
}

/* What a thread computes with. */
typedef struct worker {
    real *block, *panel; /* scratch */
    unsigned terms;      /* of ops_scratch */
} worker;

static worker worker_of(const ops_scratch *scratch, size_t I, size_t O)
{
    const size_t numel = thread_numel(I, O);
    real *const at = scratch->data + (size_t)omp_get_thread_num() * numel;
    real *const block = LVLM_REAL_BITS == 32 ? at + numel - block_numel(I, O) : NULL;
    return (worker){ block, at, scratch->terms };
}

typedef struct panel {
    const real *data;
    size_t ld; /* row stride of data */
} panel;

/* One panel of w: in place if w is `real`, else widened, and rounded if asked for. Its
 * rows are too short for the hardware prefetcher: the next ones are prefetched.
 * w (O,I) */
static panel panel_of(const worker *t, lvlm_stored w, size_t I, size_t row, size_t rows,
                      size_t col, size_t cols)
{
    if (w.dtype == LVLM_REAL_DTYPE && t->terms == 0)
        return (panel){ (const real *)w.data + row * I + col, I };
    const lvlm_matrix whole = { w.data, w.dtype, I, false };
    for (size_t r = 0; r < rows; r++) {
        if (r + ROWS_AHEAD < rows)
            lvlm_fetch(&whole, row + r + ROWS_AHEAD, 1, col, cols);
        stored_widen(t->panel + r * cols, w, (row + r) * I + col, cols);
    }
    if (t->terms > 0 && w.dtype != LVLM_BF16)
        product_round(t->panel, t->panel, cols, rows, cols, t->terms);
    return (panel){ t->panel, cols };
}

/* The same of x, of row stride ldx; `buffer`: where it is rounded. */
static panel block_of(const worker *t, real *buffer, const real *x, size_t ldx,
                      size_t rows, size_t cols)
{
    if (t->terms == 0) return (panel){ x, ldx };
    product_round(buffer, x, ldx, rows, cols, t->terms);
    return (panel){ buffer, cols };
}

/* The length of the blocks of a sum: without widening and for many rows of x one
 * product over everything is faster than one per block. */
static size_t block_length(const worker *t, lvlm_stored w, size_t rows, size_t total,
                           size_t most)
{
    return w.dtype == LVLM_REAL_DTYPE && t->terms == 0 && rows > FEW_ROWS
               ? total
               : piece(total, most);
}

/* y = b in every row, or 0.  y (rows,cols) of row stride ldy  b (cols) or NULL */
static void fill_bias(real *y, size_t ldy, const real *b, size_t rows, size_t cols)
{
    for (size_t n = 0; n < rows; n++)
        for (size_t o = 0; o < cols; o++) y[n * ldy + o] = b != NULL ? b[o] : 0;
}

/* y (rows,cols) of row stride O  x (rows,I)  w (O,I), used from row `o` on */
static void forward_tile(real *y, const real *x, lvlm_stored w, const real *b, size_t o,
                         size_t rows, size_t cols, size_t I, size_t O, const worker *t)
{
    const size_t step = block_length(t, w, rows, I, PANEL_COLS);
    fill_bias(y, O, b, rows, cols);
    for (size_t i = 0; i < I; i += step) {
        const size_t len = min_size(step, I - i);
        const panel p = panel_of(t, w, I, o, cols, i, len);
        const panel a = block_of(t, t->block, x + i, I, rows, len);
        gemm_nt(y, O, a.data, a.ld, p.data, p.ld, rows, cols, len, 1, 1);
    }
}

/* The same for a few rows of x, as in generation: each as if it were the only one. */
static void forward_few(real *y, const real *x, lvlm_stored w, const real *b, size_t N,
                        size_t I, size_t O, const ops_scratch *scratch)
{
    const size_t share = O / (4 * scratch->n_threads);
    const size_t rows = piece(O, max_size(GEMV_ROWS, min_size(share, GEMV_MOST)));
    const size_t n = n_pieces(O, rows);
    gemv_pack(scratch->data, x, N, I);
#pragma omp parallel for schedule(dynamic, 1)                                          \
    num_threads((int)scratch->n_threads) if (N * I * O > LVLM_PARALLEL_MIN)
    for (size_t r = 0; r < n; r++) {
        const size_t o = r * rows, some = min_size(rows, O - o);
        gemv_forward(y + o, O, scratch->data, N, stored_at(w, o * I),
                     b != NULL ? b + o : NULL, some, I);
    }
}

void linear_forward(real *y, const real *x, lvlm_stored w, const real *b, size_t N,
                    size_t I, size_t O, const ops_scratch *scratch)
{
    assert(I > 0 && O > 0 && w.data != NULL && y != x);
    assert(scratch->numel >= linear_scratch(I, O, scratch->n_threads));
    if (N == 0) return;
    if (N <= LINEAR_ALIKE) {
        forward_few(y, x, w, b, N, I, O, scratch);
        return;
    }
    if (product_forward(y, x, w, b, N, I, O, scratch)) return;
    const size_t rows = piece(N, tile_rows(scratch)),
                 cols = shared_piece(O, panel_rows(N));
    const size_t n_rows = n_pieces(N, rows), n_cols = n_pieces(O, cols);
#pragma omp parallel for collapse(2) schedule(dynamic, 1)                              \
    num_threads((int)scratch->n_threads) if (N * I * O > LVLM_PARALLEL_MIN)
    for (size_t r = 0; r < n_rows; r++)
        for (size_t c = 0; c < n_cols; c++) {
            const size_t n = r * rows, o = c * cols;
            const worker t = worker_of(scratch, I, O);
            forward_tile(y + n * O + o, x + n * I, w, b != NULL ? b + o : NULL, o,
                         min_size(rows, N - n), min_size(cols, O - o), I, O, &t);
        }
}

/* dx (rows,cols) of row stride I  dy (rows,O)  w (O,I), used from column `i` on */
static void dx_tile(real *dx, const real *dy, lvlm_stored w, size_t i, size_t rows,
                    size_t cols, size_t I, size_t O, const worker *t)
{
    const size_t step = block_length(t, w, rows, O, panel_rows(rows));
    for (size_t o = 0; o < O; o += step) {
        const size_t len = min_size(step, O - o);
        const panel p = panel_of(t, w, I, o, len, i, cols);
        const panel a = block_of(t, t->block, dy + o, O, rows, len);
        gemm_nn(dx, I, a.data, a.ld, p.data, p.ld, rows, cols, len, 1, 1);
    }
}

static void backward_dx(real *dx, const real *dy, lvlm_stored w, size_t N, size_t I,
                        size_t O, const ops_scratch *scratch)
{
    const size_t rows = piece(N, tile_rows(scratch)),
                 cols = shared_piece(I, PANEL_COLS);
    const size_t n_rows = n_pieces(N, rows), n_cols = n_pieces(I, cols);
#pragma omp parallel for collapse(2) schedule(dynamic, 1)                              \
    num_threads((int)scratch->n_threads) if (N * I * O > LVLM_PARALLEL_MIN)
    for (size_t r = 0; r < n_rows; r++)
        for (size_t c = 0; c < n_cols; c++) {
            const size_t n = r * rows, i = c * cols;
            const worker t = worker_of(scratch, I, O);
            dx_tile(dx + n * I + i, dy + n * O, w, i, min_size(rows, N - n),
                    min_size(cols, I - i), I, O, &t);
        }
}

/* dw (rows,cols) of row stride I  dy (N,rows) of row stride O  x (N,cols) of I */
static void dw_tile(real *dw, const real *dy, const real *x, size_t rows, size_t cols,
                    size_t N, size_t I, size_t O, const worker *t)
{
    const size_t step = t->terms == 0 ? N : ROUND_ROWS;
    for (size_t n = 0; n < N; n += step) {
        const size_t len = min_size(step, N - n);
        const panel a = block_of(t, t->panel, dy + n * O, O, len, rows);
        const panel b = block_of(t, t->block, x + n * I, I, len, cols);
        gemm_tn(dw, I, a.data, a.ld, b.data, b.ld, rows, cols, len, 1, 1);
    }
}

static void backward_dw(real *dw, const real *dy, const real *x, size_t N, size_t I,
                        size_t O, const ops_scratch *scratch)
{
    const size_t rows = shared_piece(O, PANEL_ROWS);
    const size_t cols = piece(I, scratch->terms == 0 ? 4 * PANEL_COLS : PANEL_COLS);
    const size_t n_rows = n_pieces(O, rows), n_cols = n_pieces(I, cols);
#pragma omp parallel for collapse(2) schedule(dynamic, 1)                              \
    num_threads((int)scratch->n_threads) if (N * I * O > LVLM_PARALLEL_MIN)
    for (size_t r = 0; r < n_rows; r++)
        for (size_t c = 0; c < n_cols; c++) {
            const size_t o = r * rows, i = c * cols;
            const worker t = worker_of(scratch, I, O);
            dw_tile(dw + o * I + i, dy + o, x + i, min_size(rows, O - o),
                    min_size(cols, I - i), N, I, O, &t);
        }
}

static void backward_db(real *db, const real *dy, size_t N, size_t O,
                        const ops_scratch *scratch)
{
    const size_t cols = shared_piece(O, PANEL_ROWS), n_cols = n_pieces(O, cols);
#pragma omp parallel for schedule(static)                                              \
    num_threads((int)scratch->n_threads) if (N * O > LVLM_PARALLEL_MIN)
    for (size_t c = 0; c < n_cols; c++)
        for (size_t n = 0; n < N; n++)
            for (size_t o = c * cols; o < min_size(O, (c + 1) * cols); o++)
                db[o] += dy[n * O + o];
}

void linear_backward(real *dx, real *dw, real *db, const real *dy, const real *x,
                     lvlm_stored w, size_t N, size_t I, size_t O,
                     const ops_scratch *scratch)
{
    assert(I > 0 && O > 0);
    assert(scratch->numel >= linear_scratch(I, O, scratch->n_threads));
    if (N == 0) return;
    if (dx != NULL) {
        assert(w.data != NULL && dx != dy);
        if (!product_dx(dx, dy, w, N, I, O, scratch))
            backward_dx(dx, dy, w, N, I, O, scratch);
    }
    if (dw != NULL) {
        assert(x != NULL);
        if (!product_dw(dw, dy, x, N, I, O, scratch))
            backward_dw(dw, dy, x, N, I, O, scratch);
    }
    if (db != NULL) backward_db(db, dy, N, O, scratch);
}
