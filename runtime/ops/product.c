/* product.c - the door to matrix products in parallel. */
#include "runtime/ops/product.h"

#include <assert.h>

#include "formats/base/size.h"
#include "runtime/kernel/multiply.h"
#include "runtime/ops/gemm.h"

#if LVLM_REAL_BITS == 32

enum { LINE = 64, STRETCH = 4096 };

/* The same for all products of a linear map. */
static size_t stretch_of(size_t I, size_t O)
{
    return lvlm_round_up(min_size(max_size(I, O), STRETCH), LVLM_STEP);
}

size_t product_scratch(size_t I, size_t O, size_t n_threads)
{
    return (lvlm_product_scratch(stretch_of(I, O), n_threads) + LINE) / sizeof(real);
}

static lvlm_matrix matrix(const real *data, size_t ld, bool turned)
{
    return (lvlm_matrix){ data, LVLM_F32, ld, turned };
}

static bool run(lvlm_product *p, size_t I, size_t O, const ops_scratch *scratch)
{
    const lvlm_unit *const unit = lvlm_unit_chosen();
    const uintptr_t at = (uintptr_t)scratch->data,
                    aligned = (at + LINE - 1) / LINE * LINE;
    if (unit->terms == NULL || p->left.dtype == LVLM_F64 || p->right.dtype == LVLM_F64)
        return false;
    assert(scratch->numel >= product_scratch(I, O, scratch->n_threads));
    p->levels = scratch->terms > 0 ? scratch->terms : LVLM_MOST_TERMS;
    p->out.scale = 1;
    p->stretch = stretch_of(I, O);
    lvlm_product_run(p, unit, (char *)scratch->data + (aligned - at),
                     scratch->n_threads);
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
                       .out = { .data = y, .ld = O, .turned = true, .bias = b } };
    return run(&p, I, O, scratch);
}

bool product_dx(real *dx, const real *dy, lvlm_stored w, size_t N, size_t I, size_t O,
                const ops_scratch *scratch)
{
    lvlm_product p = { .left = matrix(dy, O, false),
                       .right = { w.data, w.dtype, I, true },
                       .M = N,
                       .N = I,
                       .K = O,
                       .out = { .data = dx, .ld = I, .adds = true },
                       .packs_left = true };
    return run(&p, I, O, scratch);
}

bool product_dw(real *dw, const real *dy, const real *x, size_t N, size_t I, size_t O,
                const ops_scratch *scratch)
{
    lvlm_product p = { .left = matrix(dy, O, true),
                       .right = matrix(x, I, true),
                       .M = O,
                       .N = I,
                       .K = N,
                       .out = { .data = dw, .ld = I, .adds = true },
                       .packs_left = true };
    return run(&p, I, O, scratch);
}

void product_round(real *out, const real *x, size_t ldx, size_t rows, size_t cols,
                   unsigned terms)
{
    assert(terms == 1 || terms == 2);
    for (size_t r = 0; r < rows; r++)
        lvlm_round_to_terms(out + r * cols, x + r * ldx, cols, terms);
}

/* ---- by one thread --------------------------------------------------------------- */

enum { FEW = 8 }; /* rows, or columns, that leave most of a block empty */

size_t product_place_numel(size_t rows, size_t length)
{
    return (lvlm_product_small_scratch(rows, length) + LINE) / sizeof(real);
}

static void *aligned(real *place)
{
    return (char *)place + (LINE - (uintptr_t)place % LINE) % LINE;
}

static bool takes(size_t M, size_t N, size_t K)
{
    return lvlm_unit_chosen()->floats != NULL && M >= FEW && N >= FEW && K >= FEW;
}

void product_nt(real *c, size_t ldc, const real *a, size_t lda, const real *b,
                size_t ldb, size_t M, size_t N, size_t K, real alpha, real beta,
                real *place)
{
    assert(beta == 0 || beta == 1);
    if (!takes(M, N, K)) {
        gemm_nt(c, ldc, a, lda, b, ldb, M, N, K, alpha, beta);
        return;
    }
    const lvlm_product p = {
        .left = matrix(b, ldb, false),
        .right = matrix(a, lda, false),
        .M = N,
        .N = M,
        .K = K,
        .out = { c, ldc, .turned = true, .adds = beta != 0, .scale = alpha },
    };
    lvlm_product_small(p, lvlm_unit_chosen(), aligned(place));
}

/* c = alpha a b + beta c, or a turned */
static void multiply(real *c, size_t ldc, lvlm_matrix a, const real *b, size_t ldb,
                     size_t M, size_t N, size_t K, real alpha, real beta, real *place)
{
    const lvlm_product p = {
        .left = a,
        .right = matrix(b, ldb, true),
        .M = M,
        .N = N,
        .K = K,
        .out = { c, ldc, .adds = beta != 0, .scale = alpha },
        .packs_left = true,
    };
    assert(beta == 0 || beta == 1);
    lvlm_product_small(p, lvlm_unit_chosen(), aligned(place));
}

void product_nn(real *c, size_t ldc, const real *a, size_t lda, const real *b,
                size_t ldb, size_t M, size_t N, size_t K, real alpha, real beta,
                real *place)
{
    if (takes(M, N, K))
        multiply(c, ldc, matrix(a, lda, false), b, ldb, M, N, K, alpha, beta, place);
    else
        gemm_nn(c, ldc, a, lda, b, ldb, M, N, K, alpha, beta);
}

void product_tn(real *c, size_t ldc, const real *a, size_t lda, const real *b,
                size_t ldb, size_t M, size_t N, size_t K, real alpha, real beta,
                real *place)
{
    if (takes(M, N, K))
        multiply(c, ldc, matrix(a, lda, true), b, ldb, M, N, K, alpha, beta, place);
    else
        gemm_tn(c, ldc, a, lda, b, ldb, M, N, K, alpha, beta);
}

#else

size_t product_place_numel(size_t rows, size_t length)
{
    (void)rows, (void)length;
    return 0;
}

void product_nt(real *c, size_t ldc, const real *a, size_t lda, const real *b,
                size_t ldb, size_t M, size_t N, size_t K, real alpha, real beta,
                real *place)
{
    (void)place;
    gemm_nt(c, ldc, a, lda, b, ldb, M, N, K, alpha, beta);
}

void product_nn(real *c, size_t ldc, const real *a, size_t lda, const real *b,
                size_t ldb, size_t M, size_t N, size_t K, real alpha, real beta,
                real *place)
{
    (void)place;
    gemm_nn(c, ldc, a, lda, b, ldb, M, N, K, alpha, beta);
}

void product_tn(real *c, size_t ldc, const real *a, size_t lda, const real *b,
                size_t ldb, size_t M, size_t N, size_t K, real alpha, real beta,
                real *place)
{
    (void)place;
    gemm_tn(c, ldc, a, lda, b, ldb, M, N, K, alpha, beta);
}

size_t product_scratch(size_t I, size_t O, size_t n_threads)
{
    (void)I, (void)O, (void)n_threads;
    return 0;
}

bool product_forward(real *y, const real *x, lvlm_stored w, const real *b, size_t N,
                     size_t I, size_t O, const ops_scratch *scratch)
{
    (void)y, (void)x, (void)w, (void)b, (void)N, (void)I, (void)O, (void)scratch;
    return false;
}

bool product_dx(real *dx, const real *dy, lvlm_stored w, size_t N, size_t I, size_t O,
                const ops_scratch *scratch)
{
    (void)dx, (void)dy, (void)w, (void)N, (void)I, (void)O, (void)scratch;
    return false;
}

bool product_dw(real *dw, const real *dy, const real *x, size_t N, size_t I, size_t O,
                const ops_scratch *scratch)
{
    (void)dw, (void)dy, (void)x, (void)N, (void)I, (void)O, (void)scratch;
    return false;
}

void product_round(real *out, const real *x, size_t ldx, size_t rows, size_t cols,
                   unsigned terms)
{
    (void)out, (void)x, (void)ldx, (void)rows, (void)cols, (void)terms;
    assert(0 && "double is never rounded");
}

#endif
