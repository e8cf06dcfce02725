/* cross.c - gated cross-attention, there and back; see cross.h for its equations. */
#include "runtime/text/cross.h"

#include <math.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/model/workspace.h"
#include "runtime/ops/add.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/rows.h"

/* ---- memory ------------------------------------------------------------------- */

/* Rows of an array of keys: one where no text sees an image, for an array of none would
 * have no address. */
static size_t key_rows(const lvlm_sight *sight)
{
    return sight->n_keys > 0 ? sight->n_keys : 1;
}

int cross_keys_make(cross_keys *x, const decoder_config *c, const lvlm_sight *sight,
                    size_t N, bool keep, lvlm_error *err)
{
    const size_t n_keys = sight->n_keys, C = c->hidden;
    const size_t K = c->kv_heads * c->head_dim;
    const size_t room = key_rows(sight), kept = keep ? room : 0;
    const size_t rows = sight->n_tiles > 0 ? n_keys / sight->n_tiles : 1;
    *x = (cross_keys){ .sight = sight };
    const workspace_slot slots[] = { { &x->states, room, C }, { &x->dstates, kept, C },
                                     { &x->dk, kept, K },     { &x->dv, kept, K },
                                     { &x->draw, kept, K },   { &x->sees, N, 1 } };
    x->from = lvlm_calloc(n_keys + 1, sizeof *x->from);
    FAIL_IF(x->from == NULL, err, LVLM_ENOMEM, "cross-attention: out of memory");
    TRY(workspace_allocate(&x->memory, slots, sizeof slots / sizeof *slots,
                           "cross-attention", err));
    for (size_t i = 0; i < n_keys; i++)
        x->from[i] = sight->tiles[i / rows] * rows + i % rows;
    for (size_t n = 0; n < N; n++) x->sees[n] = sight->sees[n];
    if (keep) memset(x->dstates, 0, n_keys * C * sizeof *x->dstates);
    return 0;
}

int cross_keys_again(cross_keys *x, const lvlm_sight *sight, size_t N, lvlm_error *err)
{
    *x = (cross_keys){ .sight = sight };
    const workspace_slot slot = { &x->sees, N, 1 };
    TRY(workspace_allocate(&x->memory, &slot, 1, "cross-attention", err));
    for (size_t n = 0; n < N; n++) x->sees[n] = sight->sees[n];
    return 0;
}

void cross_keys_free(cross_keys *keys)
{
    lvlm_free(keys->from);
    lvlm_free(keys->memory);
    *keys = (cross_keys){ 0 };
}

int cross_acts_make(cross_acts *x, const decoder_config *c, const cross_keys *keys,
                    bool keep, lvlm_error *err)
{
    const size_t room = key_rows(keys->sight), K = c->kv_heads * c->head_dim;
    *x = (cross_acts){ 0 };
    const workspace_slot slots[] = { { &x->raw_k, keep ? room : 0, K },
                                     { &x->k, room, K },
                                     { &x->v, room, K } };
    TRY(workspace_allocate(&x->memory, slots, sizeof slots / sizeof *slots,
                           "cross-attention", err));
    if (!keep) x->raw_k = x->k;
    return 0;
}

void cross_acts_free(cross_acts *cross)
{
    lvlm_free(cross->memory);
    cross->memory = NULL;
}

/* ---- forward ------------------------------------------------------------------ */

static attention_dims dims_of(const decoder_config *c, const cross_keys *keys, size_t N)
{
    return (attention_dims){ .Tq = N,
                             .Tk = keys->sight->n_keys,
                             .heads = c->heads,
                             .kv_heads = c->kv_heads,
                             .D = c->head_dim,
                             .scale = (real)(1 / sqrt(c->query_scalar)),
                             .lo = keys->sight->lo,
                             .hi = keys->sight->hi };
}

void cross_keys_forward(cross_acts *x, const decoder_block *b, const decoder_config *c,
                        const cross_keys *keys, const ops_scratch *scratch)
{
    const size_t n_keys = keys->sight->n_keys, D = c->head_dim, C = c->hidden;
    const size_t K = c->kv_heads * D;
    if (n_keys == 0) return;
    dense_forward(x->raw_k, keys->states, &b->k_w, NULL, n_keys, C, K, scratch);
    dense_forward(x->v, keys->states, &b->v_w, NULL, n_keys, C, K, scratch);
    norm_forward(x->k, x->raw_k, &b->k_norm, n_keys * c->kv_heads, D);
}

static void attention_branch(decoder_acts *a, const cross_acts *x,
                             const decoder_block *b, const decoder_config *c,
                             const cross_keys *keys, size_t N,
                             const ops_scratch *scratch)
{
    const size_t C = c->hidden, D = c->head_dim, Q = c->heads * D;
    const attention_dims dims = dims_of(c, keys, N);
    norm_forward(a->normed1, a->x, &b->norm1, N, C);
    dense_forward(a->raw_q, a->normed1, &b->q_w, NULL, N, C, Q, scratch);
    norm_forward(a->q, a->raw_q, &b->q_norm, N * c->heads, D);
    attention_forward(a->heads, a->q, x->k, x->v, &dims, scratch);
    dense_forward(a->attn, a->heads, &b->out_w, NULL, N, Q, C, scratch);
}

/* y = x + tanh(gate) branch. y may be x. */
static void add_gated(real *y, const real *x, const real *branch,
                      const weight_vector *gate, size_t n)
{
    if (y != x) memcpy(y, x, n * sizeof *y);
    add_scaled_forward(y, branch, real_tanh(*gate->v), n);
}

void cross_block_forward(decoder_acts *a, const cross_acts *cross,
                         const decoder_block *block, const decoder_config *config,
                         const cross_keys *keys, size_t N, const ops_scratch *scratch)
{
    const size_t n = N * config->hidden;
    attention_branch(a, cross, block, config, keys, N, scratch);
    add_gated(a->mid, a->x, a->attn, &block->attn_gate, n);
    decoder_mlp_forward(a, block, config, N, scratch);
    scale_rows_forward(a->mlp, keys->sees, N, config->hidden);
    add_gated(a->out, a->mid, a->mlp, &block->mlp_gate, n);
}

/* ---- backward ----------------------------------------------------------------- */

/* dbranch = tanh(gate) dy; dgate += (1 - tanh(gate)^2) dy . branch */
static void gated_branch_backward(real *dbranch, const real *dy, const real *branch,
                                  const weight_vector *gate, size_t n)
{
    const real open = real_tanh(*gate->v);
    if (gate->grad != NULL)
        *gate->grad += (1 - open * open) * dot_forward(dy, branch, n);
    memset(dbranch, 0, n * sizeof *dbranch);
    add_scaled_forward(dbranch, dy, open, n);
}

/* dk and dv (n_keys,K) of what attention read, to dstates and the weights; both are
 * scratch of the caller's. */
static void keys_backward(real *dk, const real *dv, real *draw, const cross_acts *x,
                          const decoder_block *b, const decoder_config *c,
                          const cross_keys *keys, const ops_scratch *scratch)
{
    const size_t n_keys = keys->sight->n_keys, D = c->head_dim, C = c->hidden;
    const size_t K = c->kv_heads * D;
    memset(draw, 0, n_keys * K * sizeof *draw);
    norm_backward(draw, dk, x->raw_k, &b->k_norm, n_keys * c->kv_heads, D, scratch);
    dense_backward(keys->dstates, draw, keys->states, &b->k_w, NULL, n_keys, C, K,
                   scratch);
    dense_backward(keys->dstates, dv, keys->states, &b->v_w, NULL, n_keys, C, K,
                   scratch);
}

static void attention_branch_backward(decoder_grads *g, const decoder_acts *a,
                                      const cross_acts *x, const decoder_block *b,
                                      const decoder_config *c, const cross_keys *keys,
                                      size_t N, const ops_scratch *scratch)
{
    const size_t C = c->hidden, D = c->head_dim, Q = c->heads * D;
    const attention_dims dims = dims_of(c, keys, N);
    memset(g->heads, 0, N * Q * sizeof *g->heads);
    memset(g->q, 0, N * Q * sizeof *g->q);
    memset(g->normed, 0, N * C * sizeof *g->normed);
    memset(keys->dk, 0, keys->sight->n_keys * c->kv_heads * D * sizeof *keys->dk);
    memset(keys->dv, 0, keys->sight->n_keys * c->kv_heads * D * sizeof *keys->dv);
    dense_backward(g->heads, g->branch, a->heads, &b->out_w, NULL, N, Q, C, scratch);
    attention_backward(g->q, keys->dk, keys->dv, g->heads, a->q, x->k, x->v, &dims,
                       scratch);
    keys_backward(keys->dk, keys->dv, keys->draw, x, b, c, keys, scratch);
    memset(g->heads, 0, N * Q * sizeof *g->heads); /* now of raw_q */
    norm_backward(g->heads, g->q, a->raw_q, &b->q_norm, N * c->heads, D, scratch);
    dense_backward(g->normed, g->heads, a->normed1, &b->q_w, NULL, N, C, Q, scratch);
}

void cross_block_backward(decoder_grads *g, const decoder_acts *a,
                          const cross_acts *cross, const decoder_block *block,
                          const decoder_config *config, const cross_keys *keys,
                          size_t N, const ops_scratch *scratch)
{
    const size_t C = config->hidden;
    gated_branch_backward(g->branch, g->x, a->mlp, &block->mlp_gate, N * C);
    scale_rows_forward(g->branch, keys->sees, N, C);
    decoder_mlp_backward(g, a, block, config, N, scratch);
    norm_backward(g->x, g->normed, a->mid, &block->norm2, N, C, scratch);
    gated_branch_backward(g->branch, g->x, a->attn, &block->attn_gate, N * C);
    attention_branch_backward(g, a, cross, block, config, keys, N, scratch);
    norm_backward(g->x, g->normed, a->x, &block->norm1, N, C, scratch);
}
