/* cross.c - gated cross-attention; see cross.h for its equations. */
#include "runtime/text/cross.h"

#include <math.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/model/workspace.h"
#include "runtime/ops/add.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/rows.h"

int cross_acts_make(cross_acts *x, const decoder_config *c, const lvlm_sight *sight,
                    size_t N, const real *image_rows, lvlm_error *err)
{
    const size_t n_keys = sight->n_keys, K = c->kv_heads * c->head_dim, C = c->hidden;
    const size_t rows = sight->n_tiles > 0 ? n_keys / sight->n_tiles : 0;
    const workspace_slot slots[] = { { &x->states, n_keys, C },
                                     { &x->k, n_keys, K },
                                     { &x->v, n_keys, K },
                                     { &x->sees, N, 1 } };
    TRY(workspace_allocate(&x->memory, slots, sizeof slots / sizeof *slots,
                           "cross-attention", err));
    for (size_t i = 0; i < sight->n_tiles; i++)
        memcpy(x->states + i * rows * C, image_rows + sight->tiles[i] * rows * C,
               rows * C * sizeof *x->states);
    for (size_t n = 0; n < N; n++) x->sees[n] = sight->sees[n];
    return 0;
}

void cross_acts_free(cross_acts *cross)
{
    lvlm_free(cross->memory);
    cross->memory = NULL;
}

static void attention_branch(decoder_acts *a, cross_acts *x, const decoder_block *b,
                             const decoder_config *c, const lvlm_sight *sight,
                             const ops_scratch *scratch)
{
    const size_t N = a->N, C = c->hidden, D = c->head_dim, n_keys = sight->n_keys;
    const size_t Q = c->heads * D, K = c->kv_heads * D;
    const real eps = (real)c->norm_eps;
    const attention_dims dims = { .Tq = N,
                                  .Tk = n_keys,
                                  .heads = c->heads,
                                  .kv_heads = c->kv_heads,
                                  .D = D,
                                  .scale = (real)(1 / sqrt(c->query_scalar)),
                                  .lo = sight->lo,
                                  .hi = sight->hi };
    rmsnorm_forward(a->normed, a->x, b->norm1, (real)c->norm_offset, eps, N, C);
    linear_forward(a->q, a->normed, b->q_w, NULL, N, C, Q, scratch);
    rmsnorm_forward(a->q, a->q, b->q_norm, 0, eps, N * c->heads, D);
    if (n_keys > 0) {
        linear_forward(x->k, x->states, b->k_w, NULL, n_keys, C, K, scratch);
        linear_forward(x->v, x->states, b->v_w, NULL, n_keys, C, K, scratch);
        rmsnorm_forward(x->k, x->k, b->k_norm, 0, eps, n_keys * c->kv_heads, D);
    }
    attention_forward(a->q, a->q, x->k, x->v, &dims, scratch);
    linear_forward(a->branch, a->q, b->out_w, NULL, N, Q, C, scratch);
}

void cross_block_forward(decoder_acts *acts, cross_acts *cross,
                         const decoder_block *block, const decoder_config *config,
                         const lvlm_sight *sight, const ops_scratch *scratch)
{
    const size_t n = acts->N * config->hidden;
    attention_branch(acts, cross, block, config, sight, scratch);
    add_scaled_forward(acts->x, acts->branch, real_tanh(*block->attn_gate), n);
    decoder_mlp_branch(acts, block, config, scratch);
    scale_rows_forward(acts->branch, cross->sees, acts->N, config->hidden);
    add_scaled_forward(acts->x, acts->branch, real_tanh(*block->mlp_gate), n);
}
