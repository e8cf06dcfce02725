/* block.c - one block of the language model, there and back; see block.h. */
#include "runtime/text/block.h"

#include <math.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/model/workspace.h"
#include "runtime/ops/add.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/rope.h"
#include "runtime/ops/rows.h"

/* ---- memory ------------------------------------------------------------------- */

/* What is not kept lies over what is no longer needed. */
static void share(decoder_acts *a)
{
    a->heads = a->q;
    a->mid = a->out = a->x;
    a->normed2 = a->normed1;
    a->hidden = a->gate;
    a->mlp = a->attn;
}

static real *or_lent(real *own, real *lent)
{
    return own != NULL ? own : lent;
}

static void borrow(decoder_acts *a, const decoder_acts *lender)
{
    a->normed1 = or_lent(a->normed1, lender->normed1);
    a->heads = or_lent(a->heads, lender->heads);
    a->attn = or_lent(a->attn, lender->attn);
    a->attn_out = or_lent(a->attn_out, lender->attn);
    a->normed2 = or_lent(a->normed2, lender->normed2);
    a->hidden = or_lent(a->hidden, lender->hidden);
    a->mlp = or_lent(a->mlp, lender->mlp);
    a->mlp_out = or_lent(a->mlp_out, lender->mlp);
}

static bool learns(const weight_matrix *w)
{
    return w->grad != NULL || w->adapter != NULL;
}

static size_t behind_attention(const decoder_acts_options *o)
{
    return o->M != 0 ? o->M : o->N;
}

/* Rows of the arrays that gradients of some weights alone read. */
typedef struct read_rows {
    size_t normed1, heads, attn, attn_out, normed2, hidden, mlp, mlp_out;
} read_rows;

static read_rows rows_of(const decoder_config *c, const decoder_acts_options *o)
{
    const size_t N = o->N, M = behind_attention(o);
    const size_t norms = c->sandwich ? N : 0;
    const decoder_block *const b = o->block;
    if (!o->keep) return (read_rows){ .normed1 = N, .attn = N };
    if (b == NULL) return (read_rows){ N, N, N, norms, N, N, N, norms };
    return (read_rows){
        .normed1 = learns(&b->q_w) || learns(&b->k_w) || learns(&b->v_w) ? N : 0,
        .heads = learns(&b->out_w) ? N : 0,
        .attn = c->sandwich || b->attn_gate.grad != NULL ? N : 0,
        .normed2 = learns(&b->gate_w) || learns(&b->up_w) ? M : 0,
        .hidden = learns(&b->down_w) ? M : 0,
        .mlp = c->sandwich || b->mlp_gate.grad != NULL ? M : 0,
    };
}

int decoder_acts_make(decoder_acts *a, const decoder_config *c,
                      const decoder_acts_options *o, lvlm_error *err)
{
    const size_t N = o->N, M = behind_attention(o), own = o->keep ? N : 0;
    const size_t C = c->hidden, Q = c->heads * c->head_dim;
    const size_t K = c->kv_heads * c->head_dim, F = c->mlp;
    const read_rows read = rows_of(c, o);
    *a = (decoder_acts){ 0 };
    const workspace_slot slots[] = {
        { &a->x, N, C },
        { &a->normed1, read.normed1, C },
        { &a->raw_q, o->cross ? own : 0, Q },
        { &a->q, N, Q },
        { &a->k, N, K },
        { &a->v, N, K },
        { &a->heads, read.heads, Q },
        { &a->attn, read.attn, C },
        { &a->attn_out, read.attn_out, C },
        { &a->mid, own, C },
        { &a->normed2, read.normed2, C },
        { &a->gate, M, F },
        { &a->up, M, F },
        { &a->hidden, read.hidden, F },
        { &a->mlp, read.mlp, C },
        { &a->mlp_out, read.mlp_out, C },
        { &a->out, o->block == NULL ? own : 0, C },
    };
    TRY(workspace_allocate(&a->memory, slots, sizeof slots / sizeof *slots,
                           "language model", err));
    if (!o->keep) share(a);
    if (o->lender != NULL) borrow(a, o->lender);
    a->raw_q = or_lent(a->raw_q, a->q);
    a->attn_out = or_lent(a->attn_out, a->attn);
    a->mlp_out = or_lent(a->mlp_out, a->mlp);
    return 0;
}

void decoder_acts_free(decoder_acts *acts)
{
    lvlm_free(acts->memory);
    acts->memory = NULL;
}

int decoder_grads_make(decoder_grads *g, const decoder_config *c, size_t N,
                       lvlm_error *err)
{
    const size_t C = c->hidden, Q = c->heads * c->head_dim, F = c->mlp;
    const size_t K = c->kv_heads * c->head_dim;
    *g = (decoder_grads){ 0 };
    const workspace_slot slots[] = {
        { &g->x, N, C },  { &g->branch, N, C }, { &g->normed, N, C },
        { &g->q, N, Q },  { &g->heads, N, Q },  { &g->k, N, K },
        { &g->v, N, K },  { &g->hidden, N, F }, { &g->gate, N, F },
        { &g->up, N, F },
    };
    return workspace_allocate(&g->memory, slots, sizeof slots / sizeof *slots,
                              "gradients of the language model", err);
}

void decoder_grads_free(decoder_grads *grads)
{
    lvlm_free(grads->memory);
    grads->memory = NULL;
}

/* ---- forward ------------------------------------------------------------------ */

/* Even blocks slide where a window is in force. */
static attention_dims visible(const decoder_config *c, size_t i,
                              const decoder_pass *pass)
{
    const lvlm_packing *const p = pass->packing;
    const bool slides = p->window_lo != NULL && i % 2 == 0;
    return (attention_dims){
        .Tq = p->N,
        .Tk = pass->past + p->N,
        .heads = c->heads,
        .kv_heads = c->kv_heads,
        .D = c->head_dim,
        .scale = (real)(1 / sqrt(c->query_scalar)),
        .softcap = (real)c->attn_softcap,
        .lo = slides ? p->window_lo : p->lo,
        .hi = p->hi,
    };
}

static size_t rows_behind_attention(const decoder_pass *pass, size_t i)
{
    return i == pass->narrows ? pass->n_wanted : pass->N;
}

static void attention_branch(decoder_acts *a, const decoder_block *b,
                             const decoder_config *c, const attention_dims *dims,
                             const decoder_pass *pass, const ops_scratch *scratch)
{
    const size_t N = pass->N, C = c->hidden, D = c->head_dim;
    const size_t Q = c->heads * D, K = c->kv_heads * D;
    norm_forward(a->normed1, a->x, &b->norm1, N, C);
    dense_forward(a->q, a->normed1, &b->q_w, &b->q_b, N, C, Q, scratch);
    dense_forward(a->k, a->normed1, &b->k_w, &b->k_b, N, C, K, scratch);
    dense_forward(a->v, a->normed1, &b->v_w, &b->v_b, N, C, K, scratch);
    rope_forward(a->q, a->q, pass->cosines, pass->sines, N, c->heads, D);
    rope_forward(a->k, a->k, pass->cosines, pass->sines, N, c->kv_heads, D);
    if (pass->logn != NULL) scale_rows_forward(a->q, pass->logn, N, Q);
    attention_forward(a->heads, a->q, a->k - pass->past * K, a->v - pass->past * K,
                      dims, scratch);
    dense_forward(a->attn, a->heads, &b->out_w, NULL, N, Q, C, scratch);
    if (c->sandwich) norm_forward(a->attn_out, a->attn, &b->post_attn_norm, N, C);
}

void decoder_mlp_forward(decoder_acts *a, const decoder_block *b,
                         const decoder_config *c, size_t N, const ops_scratch *scratch)
{
    const size_t C = c->hidden, F = c->mlp;
    norm_forward(a->normed2, a->mid, &b->norm2, N, C);
    dense_forward(a->gate, a->normed2, &b->gate_w, NULL, N, C, F, scratch);
    dense_forward(a->up, a->normed2, &b->up_w, NULL, N, C, F, scratch);
    gated_forward(a->hidden, a->gate, a->up, c->activation, N * F);
    dense_forward(a->mlp, a->hidden, &b->down_w, NULL, N, F, C, scratch);
}

void decoder_block_forward(decoder_acts *a, const decoder_block *block,
                           const decoder_config *config, size_t i,
                           const decoder_pass *pass, const ops_scratch *scratch)
{
    const size_t C = config->hidden, M = rows_behind_attention(pass, i);
    const attention_dims dims = visible(config, i, pass);
    attention_branch(a, block, config, &dims, pass, scratch);
    sum_forward(a->mid, a->x, a->attn_out, pass->N * C);
    if (M < pass->N) select_rows_forward(a->mid, pass->wanted, M, C);
    decoder_mlp_forward(a, block, config, M, scratch);
    if (config->sandwich) norm_forward(a->mlp_out, a->mlp, &block->post_mlp_norm, M, C);
    sum_forward(a->out, a->mid, a->mlp_out, M * C);
}

/* ---- backward ----------------------------------------------------------------- */

/* branch = the gradient of what went into a post norm, or of the branch itself */
static void enter_branch(real *branch, const real *dy, const real *x,
                         const norm_layer *norm, size_t N, const decoder_config *c,
                         const ops_scratch *scratch)
{
    if (!c->sandwich) {
        memcpy(branch, dy, N * c->hidden * sizeof *branch);
        return;
    }
    memset(branch, 0, N * c->hidden * sizeof *branch);
    norm_backward(branch, dy, x, norm, N, c->hidden, scratch);
}

void decoder_mlp_backward(decoder_grads *g, const decoder_acts *a,
                          const decoder_block *b, const decoder_config *c, size_t N,
                          const ops_scratch *scratch)
{
    const size_t C = c->hidden, F = c->mlp;
    memset(g->hidden, 0, N * F * sizeof *g->hidden);
    memset(g->gate, 0, N * F * sizeof *g->gate);
    memset(g->up, 0, N * F * sizeof *g->up);
    memset(g->normed, 0, N * C * sizeof *g->normed);
    dense_backward(g->hidden, g->branch, a->hidden, &b->down_w, NULL, N, F, C, scratch);
    gated_backward(g->gate, g->up, g->hidden, a->gate, a->up, c->activation, N * F);
    dense_backward(g->normed, g->gate, a->normed2, &b->gate_w, NULL, N, C, F, scratch);
    dense_backward(g->normed, g->up, a->normed2, &b->up_w, NULL, N, C, F, scratch);
}

static void attention_branch_backward(decoder_grads *g, const decoder_acts *a,
                                      const decoder_block *b, const decoder_config *c,
                                      const attention_dims *dims,
                                      const decoder_pass *pass,
                                      const ops_scratch *scratch)
{
    const size_t N = pass->N, C = c->hidden, D = c->head_dim;
    const size_t Q = c->heads * D, K = c->kv_heads * D;
    memset(g->heads, 0, N * Q * sizeof *g->heads);
    memset(g->q, 0, N * Q * sizeof *g->q);
    memset(g->k, 0, N * K * sizeof *g->k);
    memset(g->v, 0, N * K * sizeof *g->v);
    memset(g->normed, 0, N * C * sizeof *g->normed);
    dense_backward(g->heads, g->branch, a->heads, &b->out_w, NULL, N, Q, C, scratch);
    attention_backward(g->q, g->k, g->v, g->heads, a->q, a->k, a->v, dims, scratch);
    if (pass->logn != NULL) scale_rows_forward(g->q, pass->logn, N, Q);
    rope_backward(g->q, g->q, pass->cosines, pass->sines, N, c->heads, D);
    rope_backward(g->k, g->k, pass->cosines, pass->sines, N, c->kv_heads, D);
    dense_backward(g->normed, g->q, a->normed1, &b->q_w, &b->q_b, N, C, Q, scratch);
    dense_backward(g->normed, g->k, a->normed1, &b->k_w, &b->k_b, N, C, K, scratch);
    dense_backward(g->normed, g->v, a->normed1, &b->v_w, &b->v_b, N, C, K, scratch);
}

void decoder_block_backward(decoder_grads *g, const decoder_acts *a,
                            const decoder_block *block, const decoder_config *config,
                            size_t i, const decoder_pass *pass,
                            const ops_scratch *scratch)
{
    const size_t N = pass->N, C = config->hidden, M = rows_behind_attention(pass, i);
    const attention_dims dims = visible(config, i, pass);
    enter_branch(g->branch, g->x, a->mlp, &block->post_mlp_norm, M, config, scratch);
    decoder_mlp_backward(g, a, block, config, M, scratch);
    norm_backward(g->x, g->normed, a->mid, &block->norm2, M, config->hidden, scratch);
    if (M < N) select_rows_backward(g->x, pass->wanted, M, N, C);
    enter_branch(g->branch, g->x, a->attn, &block->post_attn_norm, N, config, scratch);
    attention_branch_backward(g, a, block, config, &dims, pass, scratch);
    norm_backward(g->x, g->normed, a->x, &block->norm1, N, config->hidden, scratch);
}
