/* transformer.c - one block, forward and backward; see transformer.h for its
 * equations. */
#include "runtime/block/transformer.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "runtime/ops/add.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/rope.h"
#include "runtime/ops/rows.h"

size_t transformer_scratch(const transformer_config *c, size_t N, size_t S,
                           size_t n_threads)
{
    const size_t C = c->hidden, Q = c->heads * c->head_dim, F = c->mlp;
    const size_t rows = N > S ? N : S;
    assert(N > 0 && c->heads % c->kv_heads == 0);
    const attention_dims attention = { .Tq = N,
                                       .Tk = rows,
                                       .heads = c->heads,
                                       .kv_heads = c->kv_heads,
                                       .D = c->head_dim };
    return LARGEST(linear_scratch(C, Q, n_threads),
                   linear_scratch(C, c->kv_heads * c->head_dim, n_threads),
                   linear_scratch(Q, C, n_threads), linear_scratch(C, F, n_threads),
                   linear_scratch(F, C, n_threads),
                   attention_scratch(&attention, n_threads),
                   norm_scratch(c->head_norms ? rows * c->heads : rows));
}

/* For S keys. */
static attention_dims dims_of(const transformer_config *c, const transformer_view *view,
                              size_t S)
{
    return (attention_dims){
        .Tq = view->N,
        .Tk = S,
        .heads = c->heads,
        .kv_heads = c->kv_heads,
        .D = c->head_dim,
        .scale = (real)(1 / sqrt(c->query_scalar)),
        .softcap = (real)c->attn_softcap,
        .lo = view->lo,
        .hi = view->hi,
        .drop = view->attention_drop,
    };
}

static size_t rows_after_attention(const transformer_view *view)
{
    return view->wanted != NULL ? view->n_wanted : view->N;
}

/* ---- forward --------------------------------------------------------------------- */

static void project_queries(transformer_acts *a, const transformer_block *b,
                            const transformer_config *c, const transformer_view *view,
                            const ops_scratch *scratch)
{
    const size_t N = view->N, D = c->head_dim, Q = c->heads * D;
    real *const raw = b->q_norm.w.v != NULL ? a->raw_q : a->q;
    dense_forward(raw, a->normed1, &b->q_w, &b->q_b, N, c->hidden, Q, scratch);
    if (b->q_norm.w.v != NULL) norm_forward(a->q, raw, &b->q_norm, N * c->heads, D);
    if (view->cosines != NULL)
        rope_forward(a->q, a->q, view->cosines, view->sines, N, c->heads, D);
    if (view->logn != NULL) scale_rows_forward(a->q, view->logn, N, Q);
}

/* source (S,C) */
static void project_keys(transformer_acts *a, const real *source, size_t S,
                         const transformer_block *b, const transformer_config *c,
                         const transformer_view *view, const ops_scratch *scratch)
{
    const size_t D = c->head_dim, K = c->kv_heads * D;
    const ops_scratch fine = attention_key_scratch(scratch, c->heads, c->kv_heads);
    real *const raw = b->k_norm.w.v != NULL ? a->raw_k : a->k;
    if (S == 0) return;
    dense_forward(raw, source, &b->k_w, &b->k_b, S, c->hidden, K, &fine);
    dense_forward(a->v, source, &b->v_w, &b->v_b, S, c->hidden, K, &fine);
    if (b->k_norm.w.v != NULL) norm_forward(a->k, raw, &b->k_norm, S * c->kv_heads, D);
    if (view->cosines != NULL)
        rope_forward(a->k, a->k, view->cosines, view->sines, S, c->kv_heads, D);
}

/* Keys and values of `rows` rows become those from number `first` on. */
static void put_keys(const transformer_cache *cache, size_t first, const real *k,
                     const real *v, size_t rows, size_t K)
{
    if (rows == 0) return;
    stored_write(cache->k, cache->dtype, first * K, k, rows * K);
    stored_write(cache->v, cache->dtype, first * K, v, rows * K);
}

static void attend(real *heads, const real *q, const transformer_cache *cache,
                   const attention_dims *dims, const ops_scratch *scratch)
{
    const lvlm_stored k = { cache->k, cache->dtype }, v = { cache->v, cache->dtype };
    attention_forward_stored(heads, q, k, v, dims, scratch);
}

/* Rows of several texts, one by one. */
static void attend_rows(transformer_acts *a, const transformer_block *b,
                        const transformer_config *c, const transformer_view *view,
                        const ops_scratch *scratch)
{
    const size_t Q = c->heads * c->head_dim, K = c->kv_heads * c->head_dim;
    for (size_t n = 0; !b->is_cross && n < view->N; n++) {
        const transformer_row *const row = &view->rows[n];
        put_keys(&row->cache, row->S - 1, a->k + n * K, a->v + n * K, 1, K);
    }
    for (size_t n = 0; n < view->N; n++) {
        const transformer_row *const row = &view->rows[n];
        attention_dims dims = dims_of(c, view, row->S);
        dims.Tq = 1;
        dims.lo = &row->lo;
        dims.hi = &row->hi;
        attend(a->heads + n * Q, a->q + n * Q, &row->cache, &dims, scratch);
    }
}

/* Rows of keys and values. */
static size_t rows_of_keys(const transformer_block *b, const transformer_view *view)
{
    return b->is_cross ? view->S : view->N;
}

/* Of all rows: the norm, keys and values. */
static void make_keys(transformer_acts *a, const transformer_block *b,
                      const transformer_config *c, const transformer_view *view,
                      const ops_scratch *scratch)
{
    const size_t S = rows_of_keys(b, view);
    const real *const source = b->is_cross ? view->states : a->normed1;
    norm_forward(a->normed1, a->x, &b->norm1, view->N, c->hidden);
    if (source == NULL) return;
    project_keys(a, source, S, b, c, view, scratch);
    if (view->cache.k != NULL)
        put_keys(&view->cache, 0, a->k, a->v, S, c->kv_heads * c->head_dim);
}

/* The wanted rows take the place of all of them, and are all that the view has. */
static transformer_view leave_wanted(transformer_acts *a, const transformer_config *c,
                                     const transformer_view *view)
{
    const size_t first = view->wanted[0], M = view->n_wanted, half = c->head_dim / 2;
    transformer_view rest = *view;
    assert(view->wanted[M - 1] == first + M - 1 && view->rows == NULL);
    assert(!dropout_drops(&view->attention_drop) && !dropout_drops(&view->attn_drop) &&
           !dropout_drops(&view->mlp_drop));
    select_rows_forward(a->x, view->wanted, M, c->hidden);
    select_rows_forward(a->normed1, view->wanted, M, c->hidden);
    rest.N = M;
    rest.wanted = NULL;
    rest.lo += first;
    rest.hi += first;
    if (rest.cosines != NULL) rest.cosines += first * half;
    if (rest.sines != NULL) rest.sines += first * half;
    if (rest.logn != NULL) rest.logn += first;
    return rest;
}

/* From the norm, keys and values to a->attn; S rows of keys. */
static void attention_branch(transformer_acts *a, const transformer_block *b,
                             const transformer_config *c, const transformer_view *view,
                             size_t S, const ops_scratch *scratch)
{
    const attention_dims dims = dims_of(c, view, S);
    project_queries(a, b, c, view, scratch);
    if (view->rows != NULL)
        attend_rows(a, b, c, view, scratch);
    else if (view->cache.k != NULL)
        attend(a->heads, a->q, &view->cache, &dims, scratch);
    else
        attention_forward(a->heads, a->q, a->k, a->v, &dims, scratch);
    dense_forward(a->attn, a->heads, &b->out_w, &b->out_b, view->N,
                  c->heads * c->head_dim, c->hidden, scratch);
}

static void mlp_branch(transformer_acts *a, const transformer_block *b,
                       const transformer_config *c, size_t M,
                       const ops_scratch *scratch)
{
    const size_t C = c->hidden, F = c->mlp;
    const bool gated = transformer_is_gated(b);
    norm_forward(a->normed2, a->mid, &b->norm2, M, C);
    dense_forward(a->gate, a->normed2, &b->gate_w, &b->gate_b, M, C, F, scratch);
    if (gated) dense_forward(a->up, a->normed2, &b->up_w, &b->up_b, M, C, F, scratch);
    activation_forward(a->hidden, a->gate, gated ? a->up : NULL, c->activation, M * F);
    dense_forward(a->mlp, a->hidden, &b->down_w, &b->down_b, M, F, C, scratch);
}

static const dropout no_dropout = { .rate = 0 };

/* y = x + drop(norm(branch)) * tanh(gate). y may be x; then the branch is overwritten
 * by its norm, and without a norm always by what remains of it. */
static void add_branch(real *y, const real *x, real *branch, const norm_layer *norm,
                       const dropout *drop, const weight_vector *gate, size_t N,
                       size_t C)
{
    if (norm->w.v != NULL) {
        real *const normed = y != x ? y : branch;
        assert(gate->v == NULL);
        norm_forward(normed, branch, norm, N, C);
        branch = normed;
    }
    dropout_rows(branch, drop, NULL, N, C);
    if (gate->v == NULL) {
        sum_forward(y, x, branch, N * C);
        return;
    }
    if (y != x) memcpy(y, x, N * C * sizeof *y);
    add_scaled_forward(y, branch, real_tanh(*gate->v), N * C);
}

/* From the norm, keys and values to a->out; S rows of keys. */
static void forward_rows(transformer_acts *a, const transformer_block *b,
                         const transformer_config *c, const transformer_view *view,
                         size_t S, const ops_scratch *scratch)
{
    const size_t N = view->N, M = rows_after_attention(view), C = c->hidden;
    assert(N > 0 && M <= N);
    assert(view->rows != NULL || (view->lo != NULL && view->hi != NULL));
    assert((view->cosines == NULL) == (view->sines == NULL));
    assert((view->cache.k == NULL) == (view->cache.v == NULL));
    attention_branch(a, b, c, view, S, scratch);
    add_branch(a->mid, a->x, a->attn, &b->post_attn_norm, &view->attn_drop,
               &b->attn_gate, N, C);
    if (M < N) select_rows_forward(a->mid, view->wanted, M, C);
    mlp_branch(a, b, c, M, scratch);
    if (view->sees != NULL) scale_rows_forward(a->mlp, view->sees, M, C);
    dropout_rows(a->mlp, &view->mlp_drop, view->wanted, M, C);
    add_branch(a->out, a->mid, a->mlp, &b->post_mlp_norm, &no_dropout, &b->mlp_gate, M,
               C);
}

void transformer_forward(transformer_acts *a, const transformer_block *b,
                         const transformer_config *c, const transformer_view *view,
                         const ops_scratch *scratch)
{
    make_keys(a, b, c, view, scratch);
    const transformer_view rest = view->only_keys ? leave_wanted(a, c, view) : *view;
    forward_rows(a, b, c, &rest, rows_of_keys(b, view), scratch);
}

/* ---- backward -------------------------------------------------------------------- */

static void clear(real *x, size_t n)
{
    memset(x, 0, n * sizeof *x);
}

/* dbranch = the gradient of the branch, before its norm, dropout or gate; theirs +=
 * `spare` is overwritten.  dbranch, dy, branch, spare (N,C) */
static void branch_backward(real *dbranch, const real *dy, const real *branch,
                            const norm_layer *norm, const dropout *drop,
                            const weight_vector *gate, real *spare, size_t N, size_t C,
                            const ops_scratch *scratch)
{
    const size_t n = N * C;
    if (norm->w.v != NULL) {
        if (dropout_drops(drop)) {
            memcpy(spare, dy, n * sizeof *spare);
            dropout_rows(spare, drop, NULL, N, C);
            dy = spare;
        }
        clear(dbranch, n);
        norm_backward(dbranch, dy, branch, norm, N, C, scratch);
        return;
    }
    if (gate->v != NULL) {
        const real open = real_tanh(*gate->v);
        if (gate->grad != NULL)
            *gate->grad += (1 - open * open) * dot_forward(dy, branch, n);
        clear(dbranch, n);
        add_scaled_forward(dbranch, dy, open, n);
    } else {
        memcpy(dbranch, dy, n * sizeof *dbranch);
    }
    dropout_rows(dbranch, drop, NULL, N, C);
}

/* From g->branch to g->normed. */
static void mlp_backward(transformer_grads *g, const transformer_acts *a,
                         const transformer_block *b, const transformer_config *c,
                         size_t M, const ops_scratch *scratch)
{
    const size_t C = c->hidden, F = c->mlp;
    const bool gated = transformer_is_gated(b);
    clear(g->hidden, M * F);
    clear(g->gate, M * F);
    clear(g->normed, M * C);
    dense_backward(g->hidden, g->branch, a->hidden, &b->down_w, &b->down_b, M, F, C,
                   scratch);
    if (gated) clear(g->up, M * F);
    activation_backward(g->gate, gated ? g->up : NULL, g->hidden, a->gate,
                        gated ? a->up : NULL, c->activation, M * F);
    dense_backward(g->normed, g->gate, a->normed2, &b->gate_w, &b->gate_b, M, C, F,
                   scratch);
    if (gated)
        dense_backward(g->normed, g->up, a->normed2, &b->up_w, &b->up_b, M, C, F,
                       scratch);
}

/* From g->q, g->k and g->v to g->normed and view->dstates. */
static void projections_backward(transformer_grads *g, const transformer_acts *a,
                                 const transformer_block *b,
                                 const transformer_config *c,
                                 const transformer_view *view,
                                 const ops_scratch *scratch)
{
    const size_t N = view->N, C = c->hidden, D = c->head_dim;
    const size_t Q = c->heads * D, K = c->kv_heads * D;
    const size_t S = b->is_cross ? view->S : N;
    const real *const source = b->is_cross ? view->states : a->normed1;
    real *const dsource = b->is_cross ? view->dstates : g->normed;
    const real *dq = g->q, *dk = g->k;
    if (b->q_norm.w.v != NULL) {
        clear(g->heads, N * Q);
        norm_backward(g->heads, g->q, a->raw_q, &b->q_norm, N * c->heads, D, scratch);
        dq = g->heads;
    }
    if (b->k_norm.w.v != NULL) {
        clear(g->raw_k, S * K);
        norm_backward(g->raw_k, g->k, a->raw_k, &b->k_norm, S * c->kv_heads, D,
                      scratch);
        dk = g->raw_k;
    }
    dense_backward(g->normed, dq, a->normed1, &b->q_w, &b->q_b, N, C, Q, scratch);
    dense_backward(dsource, dk, source, &b->k_w, &b->k_b, S, C, K, scratch);
    dense_backward(dsource, g->v, source, &b->v_w, &b->v_b, S, C, K, scratch);
}

/* From g->branch to g->normed and view->dstates. */
static void attention_branch_backward(transformer_grads *g, const transformer_acts *a,
                                      const transformer_block *b,
                                      const transformer_config *c,
                                      const transformer_view *view,
                                      const ops_scratch *scratch)
{
    const size_t N = view->N, C = c->hidden, D = c->head_dim;
    const size_t Q = c->heads * D, K = c->kv_heads * D;
    const attention_dims dims = dims_of(c, view, rows_of_keys(b, view));
    assert(view->cache.k == NULL && view->rows == NULL);
    clear(g->heads, N * Q);
    clear(g->q, N * Q);
    clear(g->k, dims.Tk * K);
    clear(g->v, dims.Tk * K);
    clear(g->normed, N * C);
    dense_backward(g->heads, g->branch, a->heads, &b->out_w, &b->out_b, N, Q, C,
                   scratch);
    attention_backward(g->q, g->k, g->v, g->heads, a->q, a->k, a->v, &dims, scratch);
    if (view->logn != NULL) scale_rows_forward(g->q, view->logn, N, Q);
    if (view->cosines != NULL) {
        rope_backward(g->q, g->q, view->cosines, view->sines, N, c->heads, D);
        rope_backward(g->k, g->k, view->cosines, view->sines, N, c->kv_heads, D);
    }
    projections_backward(g, a, b, c, view, scratch);
}

void transformer_backward(transformer_grads *g, const transformer_acts *a,
                          const transformer_block *b, const transformer_config *c,
                          const transformer_view *view, const ops_scratch *scratch)
{
    const size_t N = view->N, M = rows_after_attention(view), C = c->hidden;
    assert(N > 0 && M <= N && (!b->is_cross || view->states != NULL));
    branch_backward(g->branch, g->x, a->mlp, &b->post_mlp_norm, &no_dropout,
                    &b->mlp_gate, g->normed, M, C, scratch);
    dropout_rows(g->branch, &view->mlp_drop, view->wanted, M, C);
    if (view->sees != NULL) scale_rows_forward(g->branch, view->sees, M, C);
    mlp_backward(g, a, b, c, M, scratch);
    norm_backward(g->x, g->normed, a->mid, &b->norm2, M, C, scratch);
    if (M < N) select_rows_backward(g->x, view->wanted, M, N, C);
    branch_backward(g->branch, g->x, a->attn, &b->post_attn_norm, &view->attn_drop,
                    &b->attn_gate, g->normed, N, C, scratch);
    attention_branch_backward(g, a, b, c, view, scratch);
    norm_backward(g->x, g->normed, a->x, &b->norm1, N, C, scratch);
}
