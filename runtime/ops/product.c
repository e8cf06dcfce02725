/* product.c - the door to matrix products in parallel. */
#include "runtime/ops/product.h"

#include <assert.h>

#include "formats/base/size.h"
#include "runtime/kernel/multiply.h"
#include "runtime/ops/gemm.h"

enum { LINE = 64, STRETCH = 4096 };

/* The same for all products of a linear map. */
static size_t stretch_of(size_t I, size_t O)
{
    return lvlm_round_up(min_size(max_size(I, O), STRETCH), LVLM_STEP);
}

size_t product_scratch(size_t I, size_t O, size_t n_threads)
{
    if (LVLM_REAL_BITS == 64) return 0;
    return (lvlm_product_scratch(stretch_of(I, O), n_threads) + LINE) / sizeof(real);
}

static lvlm_matrix matrix(const real *data, size_t ld, bool turned)
{
    return (lvlm_matrix){ data, LVLM_REAL_DTYPE, ld, turned };
}

/* Does a kernel compute it? Then `real` is float. */
static bool has_kernel(const lvlm_product *p)
{
    return lvlm_unit_chosen()->floats != NULL && p->left.dtype != LVLM_F64 &&
           p->right.dtype != LVLM_F64;
}

static unsigned levels_of(unsigned terms)
{
    return terms > 0 ? terms : LVLM_MOST_TERMS;
}

static void *aligned(real *scratch)
{
    return (char *)scratch + (LINE - (uintptr_t)scratch % LINE) % LINE;
}

/* p into `out`, of type real; bias too. */
static bool run(lvlm_product *p, void *out, const void *bias, size_t I, size_t O,
                const ops_scratch *scratch)
{
    if (!has_kernel(p)) return false;
    assert(scratch->numel >= product_scratch(I, O, scratch->n_threads));
    p->levels = levels_of(scratch->terms);
    p->out.data = out;
    p->out.bias = bias;
    p->out.scale = 1;
    p->stretch = stretch_of(I, O);
    lvlm_product_run(p, lvlm_unit_chosen(), aligned(scratch->data), scratch->n_threads);
    return true;
}

bool product_forward(real *y, const real *x, lvlm_stored w, const real *b, size_t N,
                     size_t I, size_t O, const ops_scratch *scratch)
{
    lvlm_product p = { .left = { w.data, w.dtype, I, false },
                       .right = matrix(x, I, false),
                       .M = O,
                       .N = N,
                       .K = I,
                       .out = { .ld = O, .turned = true } };
    return run(&p, y, b, I, O, scratch);
}

bool product_dx(real *dx, const real *dy, lvlm_stored w, size_t N, size_t I, size_t O,
                const ops_scratch *scratch)
{
    lvlm_product p = { .left = matrix(dy, O, false),
                       .right = { w.data, w.dtype, I, true },
                       .M = N,
                       .N = I,
                       .K = O,
                       .out = { .ld = I, .adds = true },
                       .packs_left = true };
    return run(&p, dx, NULL, I, O, scratch);
}

bool product_dw(real *dw, const real *dy, const real *x, size_t N, size_t I, size_t O,
                const ops_scratch *scratch)
{
    lvlm_product p = { .left = matrix(dy, O, true),
                       .right = matrix(x, I, true),
                       .M = O,
                       .N = I,
                       .K = N,
                       .out = { .ld = I, .adds = true } };
    return run(&p, dw, NULL, I, O, scratch);
}

void product_round(real *out, const real *x, size_t ldx, size_t rows, size_t cols,
                   unsigned terms)
{
    assert(LVLM_REAL_BITS == 32 && (terms == 1 || terms == 2));
    for (size_t r = 0; r < rows; r++) {
        void *const to = out + r * cols;
        const void *const from = x + r * ldx;
        lvlm_round_to_terms(to, from, cols, terms);
    }
}

/* ---- by one thread --------------------------------------------------------------- */

enum {
    FEW = 8,     /* rows, or columns, that leave most of a block empty */
    BLOCK = 128, /* columns, and values of the sum, that are rounded at once */
};

size_t product_place_numel(size_t rows, size_t length)
{
    if (LVLM_REAL_BITS == 64) return 0;
    return max_size((lvlm_product_small_scratch(rows, length) + LINE) / sizeof(real),
                    (rows + BLOCK) * BLOCK);
}

/* c = alpha a b + beta c, one of the three products of gemm.h. */
typedef struct factors {
    void (*by_openblas)(real *c, size_t ldc, const real *a, size_t lda, const real *b,
                        size_t ldb, size_t M, size_t N, size_t K, real alpha,
                        real beta);
    const real *a, *b;
    size_t lda, ldb, M, N, K;
    bool a_turned; /* is a (K,M)? else (M,K) */
    bool b_turned; /* is b (K,N)? else (N,K) */
} factors;

/* By a kernel; false: not faster, or there is none, and nothing is done. */
static bool by_kernel(const factors *f, real *c, size_t ldc, real alpha, real beta,
                      const product_place *place)
{
    void *const out = c; /* of type float, where there is a kernel */
    lvlm_product p = { .left = matrix(f->a, f->lda, f->a_turned),
                       .right = matrix(f->b, f->ldb, f->b_turned),
                       .M = f->M,
                       .N = f->N,
                       .K = f->K,
                       .out = { .ld = ldc, .adds = beta != 0, .scale = (float)alpha },
                       .packs_left = true };
    if (!has_kernel(&p) || p.M < FEW || p.N < FEW || p.K < FEW) return false;
    p.out.data = out;
    p.levels = levels_of(place->terms);
    lvlm_product_small(p, lvlm_unit_chosen(), aligned(place->data));
    return true;
}

/* A part of an operand from (row, k) on, rounded: dense at `to`. */
static void round_part(real *to, const real *x, size_t ld, bool turned, size_t row,
                       size_t rows, size_t k, size_t len, unsigned terms)
{
    if (turned)
        product_round(to, x + k * ld + row, ld, len, rows, terms);
    else
        product_round(to, x + row * ld + k, ld, rows, len, terms);
}

/* By OpenBLAS, of rounded copies. */
static void by_rounding(const factors *f, real *c, size_t ldc, real alpha, real beta,
                        const product_place *place)
{
    real *const a = place->data, *const b = a + f->M * BLOCK;
    for (size_t k = 0; k < f->K; k += BLOCK) {
        const size_t len = min_size(BLOCK, f->K - k);
        round_part(a, f->a, f->lda, f->a_turned, 0, f->M, k, len, place->terms);
        for (size_t n = 0; n < f->N; n += BLOCK) {
            const size_t cols = min_size(BLOCK, f->N - n);
            round_part(b, f->b, f->ldb, f->b_turned, n, cols, k, len, place->terms);
            f->by_openblas(c + n, ldc, a, f->a_turned ? f->M : len, b,
                           f->b_turned ? cols : len, f->M, cols, len, alpha,
                           k == 0 ? beta : 1);
        }
    }
}

static void multiply(const factors *f, real *c, size_t ldc, real alpha, real beta,
                     const product_place *place)
{
    assert(beta == 0 || beta == 1);
    if (by_kernel(f, c, ldc, alpha, beta, place)) return;
    if (LVLM_REAL_BITS == 32 && place->terms > 0)
        by_rounding(f, c, ldc, alpha, beta, place);
    else
        f->by_openblas(c, ldc, f->a, f->lda, f->b, f->ldb, f->M, f->N, f->K, alpha,
                       beta);
}

void product_nt(real *c, size_t ldc, const real *a, size_t lda, const real *b,
                size_t ldb, size_t M, size_t N, size_t K, real alpha, real beta,
                const product_place *place)
{
    const factors f = { gemm_nt, a, b, lda, ldb, M, N, K, false, false };
    multiply(&f, c, ldc, alpha, beta, place);
}

void product_nn(real *c, size_t ldc, const real *a, size_t lda, const real *b,
                size_t ldb, size_t M, size_t N, size_t K, real alpha, real beta,
                const product_place *place)
{
    const factors f = { gemm_nn, a, b, lda, ldb, M, N, K, false, true };
    multiply(&f, c, ldc, alpha, beta, place);
}

void product_tn(real *c, size_t ldc, const real *a, size_t lda, const real *b,
                size_t ldb, size_t M, size_t N, size_t K, real alpha, real beta,
                const product_place *place)
{
    const factors f = { gemm_tn, a, b, lda, ldb, M, N, K, true, true };
    multiply(&f, c, ldc, alpha, beta, place);
}
