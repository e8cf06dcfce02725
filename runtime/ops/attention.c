/* attention.c - softmax attention over one range of key rows per query.
 *
 *   forward       per (head, block of queries):   S = q K^T, P = softmax S, out = P V
 *   backward 1    per (head, block of queries):   dP = dout V^T, delta = sum(P dP),
 *                 dS = P (dP - delta) cap', dq += scale dS K; lse and delta are kept
 *   backward 2    per (kv head, block of keys), for its query heads, for the blocks of
 *                 queries in order:  dv += P^T dout, dk += scale dS^T q
 *
 * A block of queries is multiplied only with the keys between the least lo and the
 * largest hi of its rows; inside that span P is 0 where a key is not visible to a row.
 * A block ends before a row whose range does not overlap those of the rows before it,
 * so that a NaN of one text, frame or window is never multiplied by a P of 0 of another
 * one. Each output element belongs to one task with one fixed order of sums, so results
 * do not depend on the number of threads. */
#include "runtime/ops/attention.h"

#include <assert.h>
#include <omp.h>
#include <string.h>

#include "runtime/ops/gemm.h"
#include "runtime/ops/vmath.h"

#define QUERY_BLOCK 64
#define KEY_BLOCK 128

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* A block of query rows and the keys that it is multiplied with. */
typedef struct block {
    size_t q0, q1; /* query rows */
    size_t k0, k1; /* key rows; k0 >= k1: none */
} block;

/* The longest run of queries from q0, before `end`, whose ranges overlap, and their
 * union. */
static block block_of(const size_t *lo, const size_t *hi, size_t q0, size_t end)
{
    block b = { q0, q0, SIZE_MAX, 0 };
    for (; b.q1 < end; b.q1++) {
        const size_t from = lo[b.q1], to = hi[b.q1];
        if (from >= to) continue;
        if (b.k0 < b.k1 && (from >= b.k1 || to <= b.k0)) break;
        b.k0 = min_size(b.k0, from);
        b.k1 = max_size(b.k1, to);
    }
    return b;
}

size_t attention_span(const size_t *lo, const size_t *hi, size_t Tq)
{
    size_t most = 0;
    for (size_t q0 = 0; q0 < Tq; q0 += QUERY_BLOCK) {
        const size_t end = min_size(q0 + QUERY_BLOCK, Tq);
        for (block b = block_of(lo, hi, q0, end); b.q0 < end;
             b = block_of(lo, hi, b.q1, end))
            if (b.k0 < b.k1) most = max_size(most, b.k1 - b.k0);
    }
    return most;
}

/* Per thread: two (QUERY_BLOCK,span) matrices and one row (span). */
static size_t thread_numel(size_t Tq, size_t span)
{
    return ((2 * min_size(Tq, QUERY_BLOCK) + 1) * span + 15) / 16 * 16;
}

size_t attention_scratch(size_t Tq, size_t span, size_t heads, size_t n_threads)
{
    return thread_numel(Tq, span) * n_threads + 2 * heads * Tq;
}

/* The visible part of a block's row t, as offsets from the block's first key. */
static void visible(size_t *from, size_t *to, const attention_dims *d, const block *b,
                    size_t t)
{
    *from = min_size(max_size(d->lo[t], b->k0), b->k1) - b->k0;
    *to = min_size(max_size(d->hi[t], b->k0), b->k1) - b->k0;
    *to = max_size(*from, *to);
}

/* s = scale q k^T, capped.  s (rows,span)  q (Tq,heads*D)  k (Tk,kv_heads*D), both at
 * the head in question */
static void scores(real *s, const real *q, const real *k, const attention_dims *d,
                   const block *b)
{
    const size_t rows = b->q1 - b->q0, span = b->k1 - b->k0;
    const size_t ldq = d->heads * d->D, ldk = d->kv_heads * d->D;
    const real cap = d->softcap;
    gemm_nt(s, span, q + b->q0 * ldq, ldq, k + b->k0 * ldk, ldk, rows, span, d->D,
            cap > 0 ? d->scale / cap : d->scale, 0);
    if (cap == 0) return;
    vtanh(s, s, rows * span);
#pragma omp simd
    for (size_t i = 0; i < rows * span; i++) s[i] *= cap;
}

/* p = softmax of s over [from, to), 0 elsewhere; returns log sum exp. p may be s.
 * p, s (span) */
static real softmax(real *p, const real *s, size_t from, size_t to, size_t span)
{
    real most = 0, sum = 1;
    if (from < to) {
        most = vmax(s + from, to - from);
        vexp(p + from, s + from, most, to - from);
        sum = vsum(p + from, to - from);
        for (size_t i = from; i < to; i++) p[i] /= sum;
    }
    memset(p, 0, from * sizeof *p);
    memset(p + to, 0, (span - to) * sizeof *p);
    return most + real_log(sum);
}

/* out, q, k, v at the head in question; s (rows,span) is scratch */
static void forward_block(real *out, const real *q, const real *k, const real *v,
                          const attention_dims *d, const block *b, real *s)
{
    const size_t span = b->k1 - b->k0, ld = d->heads * d->D, ldv = d->kv_heads * d->D;
    if (b->k0 >= b->k1) {
        for (size_t t = b->q0; t < b->q1; t++)
            memset(out + t * ld, 0, d->D * sizeof *out);
        return;
    }
    scores(s, q, k, d, b);
    for (size_t t = b->q0; t < b->q1; t++) {
        real *row = s + (t - b->q0) * span;
        size_t from, to;
        visible(&from, &to, d, b, t);
        softmax(row, row, from, to, span);
    }
    gemm_nn(out + b->q0 * ld, ld, s, span, v + b->k0 * ldv, ldv, b->q1 - b->q0, d->D,
            span, 1, 0);
}

static void check_dims(const attention_dims *d, size_t span, const ops_scratch *scratch)
{
    assert(d->D > 0 && d->kv_heads > 0 && d->heads % d->kv_heads == 0);
    assert(d->softcap >= 0);
    for (size_t t = 0; t < d->Tq; t++) assert(d->hi[t] <= d->Tk);
    assert(scratch->numel >=
           attention_scratch(d->Tq, span, d->heads, scratch->n_threads));
    (void)d, (void)span, (void)scratch;
}

void attention_forward(real *out, const real *q, const real *k, const real *v,
                       const attention_dims *dims, const ops_scratch *scratch)
{
    const attention_dims d = *dims;
    const size_t group = d.heads / d.kv_heads;
    const size_t span = attention_span(d.lo, d.hi, d.Tq);
    const size_t stride = thread_numel(d.Tq, span);
    check_dims(dims, span, scratch);
    if (span == 0) { /* no key is visible: there may be none */
        memset(out, 0, d.Tq * d.heads * d.D * sizeof *out);
        return;
    }
#pragma omp parallel for collapse(2) schedule(dynamic, 1) num_threads(                 \
    (int)scratch->n_threads) if (d.Tq * span * d.heads * d.D > LVLM_PARALLEL_MIN)
    for (size_t h = 0; h < d.heads; h++)
        for (size_t q0 = 0; q0 < d.Tq; q0 += QUERY_BLOCK) {
            const size_t at = h * d.D, at_kv = h / group * d.D;
            const size_t end = min_size(q0 + QUERY_BLOCK, d.Tq);
            real *const own = scratch->data + (size_t)omp_get_thread_num() * stride;
            for (block b = block_of(d.lo, d.hi, q0, end); b.q0 < end;
                 b = block_of(d.lo, d.hi, b.q1, end))
                forward_block(out + at, q + at, k + at_kv, v + at_kv, &d, &b, own);
        }
}

/* One block of both backward passes: everything at the head in question. */
typedef struct backward_args {
    real *dq, *dk, *dv;   /* each may be NULL */
    const real *dout, *q; /* (Tq,heads*D) */
    const real *k, *v;    /* (Tk,kv_heads*D) */
    real *lse, *delta;    /* (Tq) of this head: written by pass 1, read by pass 2 */
    real *s, *dp, *p;     /* scratch (rows,span), (rows,span), (span) */
    size_t span;          /* of the widest block */
} backward_args;

/* dp = dout v^T.  dp (rows,span) */
static void grad_probs(real *dp, const real *dout, const real *v,
                       const attention_dims *d, const block *b)
{
    const size_t span = b->k1 - b->k0, ld = d->heads * d->D, ldv = d->kv_heads * d->D;
    gemm_nt(dp, span, dout + b->q0 * ld, ld, v + b->k0 * ldv, ldv, b->q1 - b->q0, span,
            d->D, 1, 0);
}

/* ds = p (dp - delta) (1 - (s/cap)^2), in place of dp.  dp, p, s (span) */
static void grad_scores(real *dp, const real *p, const real *s, real delta, real cap,
                        size_t span)
{
#pragma omp simd
    for (size_t i = 0; i < span; i++) dp[i] = p[i] * (dp[i] - delta);
    if (cap == 0) return;
#pragma omp simd
    for (size_t i = 0; i < span; i++) dp[i] *= 1 - (s[i] / cap) * (s[i] / cap);
}

static void backward_queries(const backward_args *a, const attention_dims *d,
                             const block *b)
{
    const size_t span = b->k1 - b->k0, ldq = d->heads * d->D, ldk = d->kv_heads * d->D;
    if (b->k0 >= b->k1) return;
    scores(a->s, a->q, a->k, d, b);
    grad_probs(a->dp, a->dout, a->v, d, b);
    for (size_t t = b->q0; t < b->q1; t++) {
        real *s = a->s + (t - b->q0) * span, *dp = a->dp + (t - b->q0) * span;
        size_t from, to;
        visible(&from, &to, d, b, t);
        a->lse[t] = softmax(a->p, s, from, to, span);
        a->delta[t] = (real)vmean(a->p + from, dp + from, to - from);
        grad_scores(dp, a->p, s, a->delta[t], d->softcap, span);
    }
    if (a->dq != NULL)
        gemm_nn(a->dq + b->q0 * ldq, ldq, a->dp, span, a->k + b->k0 * ldk, ldk,
                b->q1 - b->q0, d->D, span, d->scale, 1);
}

static void backward_keys(const backward_args *a, const attention_dims *d,
                          const block *b)
{
    const size_t rows = b->q1 - b->q0, span = b->k1 - b->k0;
    const size_t ldq = d->heads * d->D, ldk = d->kv_heads * d->D;
    scores(a->s, a->q, a->k, d, b);
    if (a->dk != NULL) grad_probs(a->dp, a->dout, a->v, d, b);
    for (size_t t = b->q0; t < b->q1; t++) {
        real *s = a->s + (t - b->q0) * span, *dp = a->dp + (t - b->q0) * span;
        size_t from, to;
        visible(&from, &to, d, b, t);
        memset(a->p, 0, span * sizeof *a->p);
        vexp(a->p + from, s + from, a->lse[t], to - from);
        if (a->dk != NULL) grad_scores(dp, a->p, s, a->delta[t], d->softcap, span);
        memcpy(s, a->p, span * sizeof *s);
    }
    if (a->dv != NULL)
        gemm_tn(a->dv + b->k0 * ldk, ldk, a->s, span, a->dout + b->q0 * ldq, ldq, span,
                d->D, rows, 1, 1);
    if (a->dk != NULL)
        gemm_tn(a->dk + b->k0 * ldk, ldk, a->dp, span, a->q + b->q0 * ldq, ldq, span,
                d->D, rows, d->scale, 1);
}

/* `all` at query head h, with thread-th scratch. */
static backward_args at_head(const backward_args *all, const attention_dims *d,
                             size_t h, size_t thread)
{
    const size_t at = h * d->D, at_kv = h / (d->heads / d->kv_heads) * d->D;
    real *own = all->s + thread * thread_numel(d->Tq, all->span);
    const size_t matrix = min_size(d->Tq, QUERY_BLOCK) * all->span;
    backward_args a = *all;
    if (a.dq != NULL) a.dq += at;
    if (a.dk != NULL) a.dk += at_kv;
    if (a.dv != NULL) a.dv += at_kv;
    a.dout += at, a.q += at, a.k += at_kv, a.v += at_kv;
    a.lse += h * d->Tq, a.delta += h * d->Tq;
    a.s = own, a.dp = own + matrix, a.p = own + 2 * matrix;
    return a;
}

/* dq of the queries [q0, q0 + QUERY_BLOCK) of one head. */
static void backward_query_block(const backward_args *all, const attention_dims *d,
                                 size_t h, size_t q0, size_t thread)
{
    const backward_args a = at_head(all, d, h, thread);
    const size_t end = min_size(q0 + QUERY_BLOCK, d->Tq);
    for (block b = block_of(d->lo, d->hi, q0, end); b.q0 < end;
         b = block_of(d->lo, d->hi, b.q1, end))
        backward_queries(&a, d, &b);
}

/* dk and dv of the keys [k0, k0 + KEY_BLOCK) of one kv head. */
static void backward_key_block(const backward_args *all, const attention_dims *d,
                               size_t kv_head, size_t k0, size_t thread)
{
    const size_t group = d->heads / d->kv_heads, k1 = min_size(k0 + KEY_BLOCK, d->Tk);
    for (size_t h = kv_head * group; h < (kv_head + 1) * group; h++) {
        const backward_args a = at_head(all, d, h, thread);
        for (size_t q0 = 0; q0 < d->Tq;) {
            const size_t end = min_size((q0 / QUERY_BLOCK + 1) * QUERY_BLOCK, d->Tq);
            block b = block_of(d->lo, d->hi, q0, end);
            q0 = b.q1;
            b.k0 = max_size(b.k0, k0);
            b.k1 = min_size(b.k1, k1);
            if (b.k0 < b.k1) backward_keys(&a, d, &b);
        }
    }
}

void attention_backward(real *dq, real *dk, real *dv, const real *dout, const real *q,
                        const real *k, const real *v, const attention_dims *dims,
                        const ops_scratch *scratch)
{
    const attention_dims d = *dims;
    const size_t span = attention_span(d.lo, d.hi, d.Tq);
    const int parallel = d.Tq * span * d.heads * d.D > LVLM_PARALLEL_MIN;
    real *lse = scratch->data + thread_numel(d.Tq, span) * scratch->n_threads;
    const backward_args all = {
        dq,   dk,   dv,  dout, q, k, v, lse, lse + d.heads * d.Tq, scratch->data,
        NULL, NULL, span
    };
    check_dims(dims, span, scratch);
    assert(dq == NULL || dq != dout);
    if (span == 0) return;
#pragma omp parallel for collapse(2) schedule(dynamic, 1)                              \
    num_threads((int)scratch->n_threads) if (parallel)
    for (size_t h = 0; h < d.heads; h++)
        for (size_t q0 = 0; q0 < d.Tq; q0 += QUERY_BLOCK)
            backward_query_block(&all, &d, h, q0, (size_t)omp_get_thread_num());
    if (dk == NULL && dv == NULL) return;
#pragma omp parallel for collapse(2) schedule(dynamic, 1)                              \
    num_threads((int)scratch->n_threads) if (parallel)
    for (size_t g = 0; g < d.kv_heads; g++)
        for (size_t k0 = 0; k0 < d.Tk; k0 += KEY_BLOCK)
            backward_key_block(&all, &d, g, k0, (size_t)omp_get_thread_num());
}
