/* vit.c - the block that every vision tower stacks; see vit.h for its equations. */
#include "runtime/vision/vit.h"

#include <math.h>

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
    CONFIG("vision.norm_eps", vit_config, norm_eps),
    CONFIG("vision.activation", vit_config, activation),
    CONFIG_MAYBE("vision.gated_mlp", vit_config, gated_mlp),
    CONFIG_MAYBE("vision.rms_norms", vit_config, rms_norms),
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
    { "norm1.weight",    { C },            ALWAYS(norm1_w) },
    { "norm1.bias",      { C },            WHEN(LAYER_NORMS, norm1_b) },
    { "attn.q.weight",   { C, C },         ALWAYS(q_w) },
    { "attn.q.bias",     { C },            WHEN(BIASES, q_b) },
    { "attn.k.weight",   { C, C },         ALWAYS(k_w) },
    { "attn.k.bias",     { C },            WHEN(BIASES, k_b) },
    { "attn.v.weight",   { C, C },         ALWAYS(v_w) },
    { "attn.v.bias",     { C },            WHEN(BIASES, v_b) },
    { "attn.out.weight", { C, C },         ALWAYS(out_w) },
    { "attn.out.bias",   { C },            WHEN(BIASES, out_b) },
    { "attn_gate",       { LVLM_DIM_ONE }, WHEN(GATES, attn_gate) },
    { "norm2.weight",    { C },            ALWAYS(norm2_w) },
    { "norm2.bias",      { C },            WHEN(LAYER_NORMS, norm2_b) },
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
    has |= config->rms_norms ? 0 : LAYER_NORMS;
    has |= config->gated_mlp ? GATED : PLAIN;
    return weights_bind_block(w, block, rows, has, prefix, i, err);
}

size_t vit_scratch(const vit_config *c, size_t R, size_t n_threads)
{
    const size_t needs[] = {
        linear_scratch(c->hidden, c->hidden, n_threads),
        linear_scratch(c->hidden, c->mlp, n_threads),
        linear_scratch(c->mlp, c->hidden, n_threads),
        attention_scratch(R, R, c->heads, c->hidden / c->heads, n_threads),
    };
    size_t most = 0;
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (needs[i] > most) most = needs[i];
    return most;
}

int vit_acts_make(vit_acts *a, const vit_config *c, size_t R, lvlm_error *err)
{
    const size_t C = c->hidden;
    *a = (vit_acts){ .R = R };
    const workspace_slot slots[] = {
        { &a->x, R, C },
        { &a->normed, R, C },
        { &a->q, R, C },
        { &a->k, R, C },
        { &a->v, R, C },
        { &a->hidden, R, c->mlp },
        { &a->up, c->gated_mlp ? R : 0, c->mlp },
        { &a->branch, R, C },
    };
    return workspace_allocate(&a->memory, slots, sizeof slots / sizeof *slots,
                              "vision tower", err);
}

void vit_acts_free(vit_acts *acts)
{
    lvlm_free(acts->memory);
    acts->memory = NULL;
}

/* ---- forward -------------------------------------------------------------------- */

static void norm(real *y, const real *x, const real *w, const real *b, size_t R,
                 const vit_config *c)
{
    if (c->rms_norms)
        rmsnorm_forward(y, x, w, 0, (real)c->norm_eps, R, c->hidden);
    else
        layernorm_forward(y, x, w, b, (real)c->norm_eps, R, c->hidden);
}

static void attention_branch(vit_acts *a, const vit_block *b, const vit_config *c,
                             const vit_view *view, const ops_scratch *scratch)
{
    const size_t R = a->R, C = c->hidden, D = C / c->heads;
    const attention_dims dims = { .Tq = R,
                                  .Tk = R,
                                  .heads = c->heads,
                                  .kv_heads = c->heads,
                                  .D = D,
                                  .scale = (real)(1 / sqrt((double)D)),
                                  .lo = view->lo,
                                  .hi = view->hi };
    norm(a->normed, a->x, b->norm1_w, b->norm1_b, R, c);
    linear_forward(a->q, a->normed, b->q_w, b->q_b, R, C, C, scratch);
    linear_forward(a->k, a->normed, b->k_w, b->k_b, R, C, C, scratch);
    linear_forward(a->v, a->normed, b->v_w, b->v_b, R, C, C, scratch);
    if (view->cosines != NULL) {
        rope_forward(a->q, a->q, view->cosines, view->sines, R, c->heads, D);
        rope_forward(a->k, a->k, view->cosines, view->sines, R, c->heads, D);
    }
    attention_forward(a->q, a->q, a->k, a->v, &dims, scratch);
    linear_forward(a->branch, a->q, b->out_w, b->out_b, R, C, C, scratch);
}

static void mlp_branch(vit_acts *a, const vit_block *b, const vit_config *c,
                       const ops_scratch *scratch)
{
    const size_t R = a->R, C = c->hidden, M = c->mlp;
    norm(a->normed, a->x, b->norm2_w, b->norm2_b, R, c);
    linear_forward(a->hidden, a->normed, b->fc1_w, b->fc1_b, R, C, M, scratch);
    if (c->gated_mlp) {
        linear_forward(a->up, a->normed, b->up_w, b->up_b, R, C, M, scratch);
        gated_forward(a->hidden, a->hidden, a->up, c->activation, R * M);
    } else {
        activation_forward(a->hidden, a->hidden, c->activation, R * M);
    }
    linear_forward(a->branch, a->hidden, b->fc2_w, b->fc2_b, R, M, C, scratch);
}

/* x += branch, or tanh(gate) times it. */
static void add_branch(vit_acts *a, const real *gate, const vit_config *c)
{
    const size_t n = a->R * c->hidden;
    if (gate == NULL)
        add_forward(a->x, a->branch, n);
    else
        add_scaled_forward(a->x, a->branch, real_tanh(*gate), n);
}

void vit_block_forward(vit_acts *acts, const vit_block *block, const vit_config *config,
                       const vit_view *view, const ops_scratch *scratch)
{
    attention_branch(acts, block, config, view, scratch);
    add_branch(acts, block->attn_gate, config);
    mlp_branch(acts, block, config, scratch);
    add_branch(acts, block->mlp_gate, config);
}
