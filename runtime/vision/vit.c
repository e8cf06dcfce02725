/* vit.c - the block that every vision tower stacks; see vit.h for its equations. */
#include "runtime/vision/vit.h"

#include <math.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/model/configure.h"
#include "runtime/model/workspace.h"
#include "runtime/ops/add.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/rope.h"

static const config_row config_rows[] = {
    CONFIG("vision.hidden", vit_config, hidden),
    CONFIG("vision.heads", vit_config, heads),
    CONFIG("vision.mlp", vit_config, mlp),
    CONFIG("vision.norm_eps", vit_config, norm.eps),
    CONFIG("vision.activation", vit_config, activation),
    CONFIG_MAYBE("vision.gated_mlp", vit_config, gated_mlp),
    CONFIG_MAYBE("vision.rms_norms", vit_config, norm.rms),
    CONFIG_END,
};

enum {
    BIASES = VIT_ATTENTION_BIASES,
    GATES = VIT_GATES,
    LAYER_NORMS = 4,
    PLAIN = 8,
    GATED = 16,
};

// clang-format off
#define C LVLM_DIM_VISION_HIDDEN
#define M LVLM_DIM_VISION_MLP
#define ALWAYS(field) WEIGHT_FIELD(vit_block, field)
#define WHEN(bits, field) WEIGHT_FIELD_WHEN(vit_block, field, bits)

static const weight_row rows[] = {
    { "norm1.weight",    { C },            ALWAYS(norm1.w) },
    { "norm1.bias",      { C },            WHEN(LAYER_NORMS, norm1.b) },
    { "attn.q.weight",   { C, C },         ALWAYS(q_w) },
    { "attn.q.bias",     { C },            WHEN(BIASES, q_b) },
    { "attn.k.weight",   { C, C },         ALWAYS(k_w) },
    { "attn.k.bias",     { C },            WHEN(BIASES, k_b) },
    { "attn.v.weight",   { C, C },         ALWAYS(v_w) },
    { "attn.v.bias",     { C },            WHEN(BIASES, v_b) },
    { "attn.out.weight", { C, C },         ALWAYS(out_w) },
    { "attn.out.bias",   { C },            WHEN(BIASES, out_b) },
    { "attn_gate",       { LVLM_DIM_ONE }, WHEN(GATES, attn_gate) },
    { "norm2.weight",    { C },            ALWAYS(norm2.w) },
    { "norm2.bias",      { C },            WHEN(LAYER_NORMS, norm2.b) },
    { "mlp.fc1.weight",  { M, C },         WHEN(PLAIN, fc1_w) },
    { "mlp.fc1.bias",    { M },            WHEN(PLAIN, fc1_b) },
    { "mlp.fc2.weight",  { C, M },         WHEN(PLAIN, fc2_w) },
    { "mlp.fc2.bias",    { C },            WHEN(PLAIN, fc2_b) },
    { "mlp.gate.weight", { M, C },         WHEN(GATED, fc1_w) },
    { "mlp.gate.bias",   { M },            WHEN(GATED, fc1_b) },
    { "mlp.up.weight",   { M, C },         WHEN(GATED, up_w) },
    { "mlp.up.bias",     { M },            WHEN(GATED, up_b) },
    { "mlp.down.weight", { C, M },         WHEN(GATED, fc2_w) },
    { "mlp.down.bias",   { C },            WHEN(GATED, fc2_b) },
    { "mlp_gate",        { LVLM_DIM_ONE }, WHEN(GATES, mlp_gate) },
    WEIGHT_END,
};

#undef C
#undef M
// clang-format on

int vit_configure(vit_config *config, const cJSON *json, lvlm_error *err)
{
    TRY(configure(config, config_rows, json, err));
    FAIL_IF(config->hidden % config->heads != 0, err, LVLM_EFORMAT,
            "configuration: vision.hidden %zu is no multiple of vision.heads %zu",
            config->hidden, config->heads);
    return 0;
}

int vit_bind(vit_block *block, weights *w, const vit_config *config, unsigned has,
             const char *prefix, size_t i, lvlm_error *err)
{
    has |= config->norm.rms ? 0 : LAYER_NORMS;
    has |= config->gated_mlp ? GATED : PLAIN;
    block->norm1 = block->norm2 = config->norm;
    return weights_bind_block(w, block, rows, has, prefix, i, err);
}

size_t vit_scratch(const vit_config *c, size_t R, size_t span, size_t n_threads)
{
    const size_t needs[] = {
        linear_scratch(c->hidden, c->hidden, n_threads),
        linear_scratch(c->hidden, c->mlp, n_threads),
        linear_scratch(c->mlp, c->hidden, n_threads),
        attention_scratch(R, span, c->heads, n_threads),
        norm_scratch(R),
    };
    size_t most = 0;
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (needs[i] > most) most = needs[i];
    return most;
}

/* `keep`: every array has its own memory, and x stays what it was; without `out`, that
 * is set later. */
static int make_acts(vit_acts *a, const vit_config *c, size_t R, bool keep, bool out,
                     lvlm_error *err)
{
    const size_t C = c->hidden, M = c->mlp, own = keep ? R : 0;
    *a = (vit_acts){ .R = R };
    const workspace_slot slots[] = {
        { &a->x, R, C },
        { &a->normed1, R, C },
        { &a->q, R, C },
        { &a->k, R, C },
        { &a->v, R, C },
        { &a->heads, own, C },
        { &a->attn, R, C },
        { &a->mid, own, C },
        { &a->normed2, own, C },
        { &a->pre, R, M },
        { &a->up, c->gated_mlp ? R : 0, M },
        { &a->hidden, own, M },
        { &a->mlp, own, C },
        { &a->out, out ? own : 0, C },
    };
    TRY(workspace_allocate(&a->memory, slots, sizeof slots / sizeof *slots,
                           "vision tower", err));
    if (keep) return 0;
    a->heads = a->q;
    a->mid = a->out = a->x;
    a->normed2 = a->normed1;
    a->hidden = a->pre;
    a->mlp = a->attn;
    return 0;
}

int vit_grads_make(vit_grads *g, const vit_config *c, size_t R, lvlm_error *err)
{
    const size_t C = c->hidden, M = c->mlp;
    *g = (vit_grads){ 0 };
    const workspace_slot slots[] = {
        { &g->x, R, C },      { &g->branch, R, C },
        { &g->normed, R, C }, { &g->q, R, C },
        { &g->k, R, C },      { &g->v, R, C },
        { &g->heads, R, C },  { &g->hidden, R, M },
        { &g->pre, R, M },    { &g->up, c->gated_mlp ? R : 0, M },
    };
    return workspace_allocate(&g->memory, slots, sizeof slots / sizeof *slots,
                              "gradients of the vision tower", err);
}

void vit_grads_free(vit_grads *grads)
{
    lvlm_free(grads->memory);
    grads->memory = NULL;
}

int vit_grads_bytes(uint64_t *out, const vit_config *config, size_t R, lvlm_error *err)
{
    vit_grads g;
    const int rc = vit_grads_make(&g, config, R, err);
    *out = workspace_bytes(g.memory);
    vit_grads_free(&g);
    return rc;
}

int vit_tape_make(vit_tape *tape, const vit_config *config, size_t R, size_t n_blocks,
                  tape_keep keep, lvlm_error *err)
{
    const bool each = keep == TAPE_ALL;
    *tape = (vit_tape){ .n = each ? n_blocks : 1, .R = R };
    const workspace_slot slot = { &tape->inputs, keep == TAPE_INPUTS ? n_blocks * R : 0,
                                  config->hidden };
    tape->blocks = lvlm_calloc(tape->n, sizeof *tape->blocks);
    if (tape->blocks == NULL) return lvlm_fail_memory(err);
    TRY(workspace_allocate(&tape->memory, &slot, 1, "vision tower", err));
    for (size_t i = 0; i < tape->n; i++)
        TRY(make_acts(&tape->blocks[i], config, R, keep != TAPE_NOTHING,
                      i + 1 == tape->n, err));
    for (size_t i = 0; i + 1 < tape->n; i++)
        tape->blocks[i].out = tape->blocks[i + 1].x;
    return 0;
}

void vit_tape_free(vit_tape *tape)
{
    for (size_t i = 0; tape->blocks != NULL && i < tape->n; i++)
        lvlm_free(tape->blocks[i].memory);
    lvlm_free(tape->blocks);
    lvlm_free(tape->memory);
    *tape = (vit_tape){ 0 };
}

uint64_t vit_tape_bytes(const vit_tape *tape)
{
    uint64_t sum = workspace_bytes(tape->memory);
    for (size_t i = 0; i < tape->n; i++) sum += workspace_bytes(tape->blocks[i].memory);
    return sum;
}

vit_acts *vit_tape_enter(vit_tape *tape, size_t i, const real *x,
                         const vit_config *config)
{
    vit_acts *const a = &tape->blocks[tape->n > 1 ? i : 0];
    const size_t n = tape->R * config->hidden;
    if (tape->inputs != NULL) memcpy(tape->inputs + i * n, x, n * sizeof *x);
    if (a->x != x) memcpy(a->x, x, n * sizeof *x);
    tape->held = i;
    return a;
}

void vit_tape_back(vit_tape *tape, size_t i, vit_grads *grads, const vit_block *block,
                   const vit_config *config, const vit_view *view,
                   const ops_scratch *scratch)
{
    vit_acts *const a = &tape->blocks[tape->n > 1 ? i : 0];
    const size_t n = tape->R * config->hidden;
    if (tape->inputs != NULL && tape->held != i) {
        memcpy(a->x, tape->inputs + i * n, n * sizeof *a->x);
        vit_block_forward(a, block, config, view, scratch);
        tape->held = i;
    }
    vit_block_backward(grads, a, block, config, view, scratch);
}

/* ---- forward ------------------------------------------------------------------ */

static attention_dims dims_of(const vit_acts *a, const vit_config *c,
                              const vit_view *view)
{
    const size_t D = c->hidden / c->heads;
    return (attention_dims){ .Tq = a->R,
                             .Tk = a->R,
                             .heads = c->heads,
                             .kv_heads = c->heads,
                             .D = D,
                             .scale = (real)(1 / sqrt((double)D)),
                             .lo = view->lo,
                             .hi = view->hi };
}

static void attention_branch(vit_acts *a, const vit_block *b, const vit_config *c,
                             const vit_view *view, const ops_scratch *scratch)
{
    const size_t R = a->R, C = c->hidden, D = C / c->heads;
    const attention_dims dims = dims_of(a, c, view);
    norm_forward(a->normed1, a->x, &b->norm1, R, C);
    dense_forward(a->q, a->normed1, &b->q_w, &b->q_b, R, C, C, scratch);
    dense_forward(a->k, a->normed1, &b->k_w, &b->k_b, R, C, C, scratch);
    dense_forward(a->v, a->normed1, &b->v_w, &b->v_b, R, C, C, scratch);
    if (view->cosines != NULL) {
        rope_forward(a->q, a->q, view->cosines, view->sines, R, c->heads, D);
        rope_forward(a->k, a->k, view->cosines, view->sines, R, c->heads, D);
    }
    attention_forward(a->heads, a->q, a->k, a->v, &dims, scratch);
    dense_forward(a->attn, a->heads, &b->out_w, &b->out_b, R, C, C, scratch);
}

static void mlp_branch(vit_acts *a, const vit_block *b, const vit_config *c,
                       const ops_scratch *scratch)
{
    const size_t R = a->R, C = c->hidden, M = c->mlp;
    norm_forward(a->normed2, a->mid, &b->norm2, R, C);
    dense_forward(a->pre, a->normed2, &b->fc1_w, &b->fc1_b, R, C, M, scratch);
    if (c->gated_mlp) {
        dense_forward(a->up, a->normed2, &b->up_w, &b->up_b, R, C, M, scratch);
        gated_forward(a->hidden, a->pre, a->up, c->activation, R * M);
    } else {
        activation_forward(a->hidden, a->pre, c->activation, R * M);
    }
    dense_forward(a->mlp, a->hidden, &b->fc2_w, &b->fc2_b, R, M, C, scratch);
}

/* y = x + branch, or x + tanh(gate) branch. y may be x. */
static void add_branch(real *y, const real *x, const real *branch,
                       const weight_vector *gate, size_t n)
{
    if (gate->v == NULL) {
        sum_forward(y, x, branch, n);
        return;
    }
    if (y != x) memcpy(y, x, n * sizeof *y);
    add_scaled_forward(y, branch, real_tanh(*gate->v), n);
}

void vit_block_forward(vit_acts *a, const vit_block *block, const vit_config *config,
                       const vit_view *view, const ops_scratch *scratch)
{
    const size_t n = a->R * config->hidden;
    attention_branch(a, block, config, view, scratch);
    add_branch(a->mid, a->x, a->attn, &block->attn_gate, n);
    mlp_branch(a, block, config, scratch);
    add_branch(a->out, a->mid, a->mlp, &block->mlp_gate, n);
}

/* ---- backward ----------------------------------------------------------------- */

/* dbranch = what dy is for the branch; dgate += */
static void branch_backward(real *dbranch, const real *dy, const real *branch,
                            const weight_vector *gate, size_t n)
{
    const real open = gate->v != NULL ? real_tanh(*gate->v) : 1;
    if (gate->grad != NULL)
        *gate->grad += (1 - open * open) * dot_forward(dy, branch, n);
    memset(dbranch, 0, n * sizeof *dbranch);
    add_scaled_forward(dbranch, dy, open, n);
}

static void mlp_backward(vit_grads *g, const vit_acts *a, const vit_block *b,
                         const vit_config *c, const ops_scratch *scratch)
{
    const size_t R = a->R, C = c->hidden, M = c->mlp;
    branch_backward(g->branch, g->x, a->mlp, &b->mlp_gate, R * C);
    memset(g->hidden, 0, R * M * sizeof *g->hidden);
    memset(g->pre, 0, R * M * sizeof *g->pre);
    memset(g->normed, 0, R * C * sizeof *g->normed);
    dense_backward(g->hidden, g->branch, a->hidden, &b->fc2_w, &b->fc2_b, R, M, C,
                   scratch);
    if (c->gated_mlp) {
        memset(g->up, 0, R * M * sizeof *g->up);
        gated_backward(g->pre, g->up, g->hidden, a->pre, a->up, c->activation, R * M);
        dense_backward(g->normed, g->up, a->normed2, &b->up_w, &b->up_b, R, C, M,
                       scratch);
    } else {
        activation_backward(g->pre, g->hidden, a->pre, c->activation, R * M);
    }
    dense_backward(g->normed, g->pre, a->normed2, &b->fc1_w, &b->fc1_b, R, C, M,
                   scratch);
    norm_backward(g->x, g->normed, a->mid, &b->norm2, R, C, scratch);
}

static void attention_branch_backward(vit_grads *g, const vit_acts *a,
                                      const vit_block *b, const vit_config *c,
                                      const vit_view *view, const ops_scratch *scratch)
{
    const size_t R = a->R, C = c->hidden, D = C / c->heads,
                 bytes = R * C * sizeof(real);
    const attention_dims dims = dims_of(a, c, view);
    real *const cleared[] = { g->heads, g->q, g->k, g->v, g->normed };
    branch_backward(g->branch, g->x, a->attn, &b->attn_gate, R * C);
    for (size_t i = 0; i < sizeof cleared / sizeof *cleared; i++)
        memset(cleared[i], 0, bytes);
    dense_backward(g->heads, g->branch, a->heads, &b->out_w, &b->out_b, R, C, C,
                   scratch);
    attention_backward(g->q, g->k, g->v, g->heads, a->q, a->k, a->v, &dims, scratch);
    if (view->cosines != NULL) {
        rope_backward(g->q, g->q, view->cosines, view->sines, R, c->heads, D);
        rope_backward(g->k, g->k, view->cosines, view->sines, R, c->heads, D);
    }
    dense_backward(g->normed, g->q, a->normed1, &b->q_w, &b->q_b, R, C, C, scratch);
    dense_backward(g->normed, g->k, a->normed1, &b->k_w, &b->k_b, R, C, C, scratch);
    dense_backward(g->normed, g->v, a->normed1, &b->v_w, &b->v_b, R, C, C, scratch);
    norm_backward(g->x, g->normed, a->x, &b->norm1, R, C, scratch);
}

void vit_block_backward(vit_grads *grads, const vit_acts *acts, const vit_block *block,
                        const vit_config *config, const vit_view *view,
                        const ops_scratch *scratch)
{
    mlp_backward(grads, acts, block, config, scratch);
    attention_branch_backward(grads, acts, block, config, view, scratch);
}
