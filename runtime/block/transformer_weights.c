/* transformer_weights.c - names and fields of a block's weights; see
 * transformer.h. */
#include "runtime/block/transformer.h"

/* Bits besides the public ones. */
enum {
    SELF = 64,
    CROSS = 128,
    LAYER_NORMS = 256,
    PLAIN = 512,
    GATED = 1024,
    BIASES = BLOCK_QKV_BIASES,
    OUT_BIAS = BLOCK_OUT_BIAS,
    MLP_BIASES = BLOCK_MLP_BIASES,
    GATES = BLOCK_GATES,
    POST_NORMS = BLOCK_POST_NORMS,
};

// clang-format off
#define ALWAYS(field) WEIGHT_FIELD(transformer_block, field)
#define WHEN(bits, field) WEIGHT_FIELD_WHEN(transformer_block, field, bits)

static const weight_row rows[] = {
    { "norm1.weight",          ALWAYS(norm1.w) },
    { "norm1.bias",            WHEN(LAYER_NORMS, norm1.b) },
    { "attn.q.weight",         WHEN(SELF, q_w) },
    { "attn.q.bias",           WHEN(SELF | BIASES, q_b) },
    { "attn.k.weight",         WHEN(SELF, k_w) },
    { "attn.k.bias",           WHEN(SELF | BIASES, k_b) },
    { "attn.v.weight",         WHEN(SELF, v_w) },
    { "attn.v.bias",           WHEN(SELF | BIASES, v_b) },
    { "attn.out.weight",       WHEN(SELF, out_w) },
    { "attn.out.bias",         WHEN(SELF | OUT_BIAS, out_b) },
    { "cross.q.weight",        WHEN(CROSS, q_w) },
    { "cross.k.weight",        WHEN(CROSS, k_w) },
    { "cross.v.weight",        WHEN(CROSS, v_w) },
    { "cross.q_norm.weight",   WHEN(CROSS, q_norm.w) },
    { "cross.k_norm.weight",   WHEN(CROSS, k_norm.w) },
    { "cross.out.weight",      WHEN(CROSS, out_w) },
    { "attn_gate",             WHEN(GATES, attn_gate) },
    { "post_attn_norm.weight", WHEN(POST_NORMS, post_attn_norm.w) },
    { "norm2.weight",          ALWAYS(norm2.w) },
    { "norm2.bias",            WHEN(LAYER_NORMS, norm2.b) },
    { "mlp.fc1.weight",        WHEN(PLAIN, gate_w) },
    { "mlp.fc1.bias",          WHEN(PLAIN | MLP_BIASES, gate_b) },
    { "mlp.fc2.weight",        WHEN(PLAIN, down_w) },
    { "mlp.fc2.bias",          WHEN(PLAIN | MLP_BIASES, down_b) },
    { "mlp.gate.weight",       WHEN(GATED, gate_w) },
    { "mlp.gate.bias",         WHEN(GATED | MLP_BIASES, gate_b) },
    { "mlp.up.weight",         WHEN(GATED, up_w) },
    { "mlp.up.bias",           WHEN(GATED | MLP_BIASES, up_b) },
    { "mlp.down.weight",       WHEN(GATED, down_w) },
    { "mlp.down.bias",         WHEN(GATED | MLP_BIASES, down_b) },
    { "mlp_gate",              WHEN(GATES, mlp_gate) },
    { "post_mlp_norm.weight",  WHEN(POST_NORMS, post_mlp_norm.w) },
    WEIGHT_END,
};
// clang-format on

int transformer_bind(transformer_block *b, weights *w, const transformer_config *c,
                     unsigned has, const char *prefix, size_t i, lvlm_error *err)
{
    has |= (b->is_cross ? CROSS : SELF) | (c->norm.rms ? 0 : LAYER_NORMS) |
           (c->gated_mlp ? GATED : PLAIN);
    b->norm1 = b->norm2 = b->post_attn_norm = b->post_mlp_norm = c->norm;
    b->q_norm = b->k_norm = (norm_layer){ .rms = true, .eps = c->norm.eps };
    return weights_bind_block(w, b, rows, has, prefix, i, err);
}
