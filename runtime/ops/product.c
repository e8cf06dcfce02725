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
    p->levels = scratch->terms > 0 ? scratch->terms : LVLM_MOST_TERMS;
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

enum { FEW = 8 }; /* rows, or columns, that leave most of a block empty */

size_t product_place_numel(size_t rows, size_t length)
{
    if (LVLM_REAL_BITS == 64) return 0;
    return (lvlm_product_small_scratch(rows, length) + LINE) / sizeof(real);
}

/* c = alpha p + beta c by a kernel, c of type real; false: not faster, or there is
 * none, and nothing is done. */
static bool small(lvlm_product p, void *c, size_t ldc, real alpha, real beta,
                  real *place)
{
    assert(beta == 0 || beta == 1);
    if (!has_kernel(&p) || p.M < FEW || p.N < FEW || p.K < FEW) return false;
    p.out.data = c;
    p.out.ld = ldc;
    p.out.adds = beta != 0;
    p.out.scale = (float)alpha;
    lvlm_product_small(p, lvlm_unit_chosen(), aligned(place));
    return true;
}

void product_nt(real *c, size_t ldc, const real *a, size_t lda, const real *b,
                size_t ldb, size_t M, size_t N, size_t K, real alpha, real beta,
                real *place)
{
    const lvlm_product p = { .left = matrix(b, ldb, false),
                             .right = matrix(a, lda, false),
                             .M = N,
                             .N = M,
                             .K = K,
                             .out.turned = true };
    if (!small(p, c, ldc, alpha, beta, place))
        gemm_nt(c, ldc, a, lda, b, ldb, M, N, K, alpha, beta);
}

void product_nn(real *c, size_t ldc, const real *a, size_t lda, const real *b,
                size_t ldb, size_t M, size_t N, size_t K, real alpha, real beta,
                real *place)
{
    const lvlm_product p = { .left = matrix(a, lda, false),
                             .right = matrix(b, ldb, true),
                             .M = M,
                             .N = N,
                             .K = K,
                             .packs_left = true };
    if (!small(p, c, ldc, alpha, beta, place))
        gemm_nn(c, ldc, a, lda, b, ldb, M, N, K, alpha, beta);
}

void product_tn(real *c, size_t ldc, const real *a, size_t lda, const real *b,
                size_t ldb, size_t M, size_t N, size_t K, real alpha, real beta,
                real *place)
{
    const lvlm_product p = { .left = matrix(a, lda, true),
                             .right = matrix(b, ldb, true),
                             .M = M,
                             .N = N,
                             .K = K,
                             .packs_left = true };
    if (!small(p, c, ldc, alpha, beta, place))
        gemm_tn(c, ldc, a, lda, b, ldb, M, N, K, alpha, beta);
}
