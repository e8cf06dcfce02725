/* transformer_weights.c - names, shapes and fields of a block's weights; see
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

/* Sizes of the rows below, and what they are called in a language model and a tower. */
enum { C = 1, Q, K, D, F, ONE, N_SIZES };

static const unsigned char sizes[2][N_SIZES] = {
    { LVLM_DIM_NONE, LVLM_DIM_HIDDEN, LVLM_DIM_Q_DIM, LVLM_DIM_KV_DIM,
      LVLM_DIM_HEAD_DIM, LVLM_DIM_MLP, LVLM_DIM_ONE },
    { LVLM_DIM_NONE, LVLM_DIM_VISION_HIDDEN, LVLM_DIM_VISION_HIDDEN,
      LVLM_DIM_VISION_HIDDEN, LVLM_DIM_NONE, LVLM_DIM_VISION_MLP, LVLM_DIM_ONE },
};

// clang-format off
#define ALWAYS(field) WEIGHT_FIELD(transformer_block, field)
#define WHEN(bits, field) WEIGHT_FIELD_WHEN(transformer_block, field, bits)

static const weight_row rows[] = {
    { "norm1.weight",          { C },    ALWAYS(norm1.w) },
    { "norm1.bias",            { C },    WHEN(LAYER_NORMS, norm1.b) },
    { "attn.q.weight",         { Q, C }, WHEN(SELF, q_w) },
    { "attn.q.bias",           { Q },    WHEN(SELF | BIASES, q_b) },
    { "attn.k.weight",         { K, C }, WHEN(SELF, k_w) },
    { "attn.k.bias",           { K },    WHEN(SELF | BIASES, k_b) },
    { "attn.v.weight",         { K, C }, WHEN(SELF, v_w) },
    { "attn.v.bias",           { K },    WHEN(SELF | BIASES, v_b) },
    { "attn.out.weight",       { C, Q }, WHEN(SELF, out_w) },
    { "attn.out.bias",         { C },    WHEN(SELF | OUT_BIAS, out_b) },
    { "cross.q.weight",        { Q, C }, WHEN(CROSS, q_w) },
    { "cross.k.weight",        { K, C }, WHEN(CROSS, k_w) },
    { "cross.v.weight",        { K, C }, WHEN(CROSS, v_w) },
    { "cross.q_norm.weight",   { D },    WHEN(CROSS, q_norm.w) },
    { "cross.k_norm.weight",   { D },    WHEN(CROSS, k_norm.w) },
    { "cross.out.weight",      { C, Q }, WHEN(CROSS, out_w) },
    { "attn_gate",             { ONE },  WHEN(GATES, attn_gate) },
    { "post_attn_norm.weight", { C },    WHEN(POST_NORMS, post_attn_norm.w) },
    { "norm2.weight",          { C },    ALWAYS(norm2.w) },
    { "norm2.bias",            { C },    WHEN(LAYER_NORMS, norm2.b) },
    { "mlp.fc1.weight",        { F, C }, WHEN(PLAIN, gate_w) },
    { "mlp.fc1.bias",          { F },    WHEN(PLAIN | MLP_BIASES, gate_b) },
    { "mlp.fc2.weight",        { C, F }, WHEN(PLAIN, down_w) },
    { "mlp.fc2.bias",          { C },    WHEN(PLAIN | MLP_BIASES, down_b) },
    { "mlp.gate.weight",       { F, C }, WHEN(GATED, gate_w) },
    { "mlp.gate.bias",         { F },    WHEN(GATED | MLP_BIASES, gate_b) },
    { "mlp.up.weight",         { F, C }, WHEN(GATED, up_w) },
    { "mlp.up.bias",           { F },    WHEN(GATED | MLP_BIASES, up_b) },
    { "mlp.down.weight",       { C, F }, WHEN(GATED, down_w) },
    { "mlp.down.bias",         { C },    WHEN(GATED | MLP_BIASES, down_b) },
    { "mlp_gate",              { ONE },  WHEN(GATES, mlp_gate) },
    { "post_mlp_norm.weight",  { C },    WHEN(POST_NORMS, post_mlp_norm.w) },
    WEIGHT_END,
};
// clang-format on

int transformer_bind(transformer_block *b, weights *w, const transformer_config *c,
                     unsigned has, const char *prefix, size_t i, lvlm_error *err)
{
    const unsigned char *const size = sizes[(has & BLOCK_IN_TOWER) != 0];
    weight_row sized[sizeof rows / sizeof *rows];
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        sized[r] = rows[r];
        for (size_t d = 0; d < LVLM_ROW_DIMS; d++)
            sized[r].shape[d] = size[rows[r].shape[d]];
    }
    has |= (b->is_cross ? CROSS : SELF) | (c->norm.rms ? 0 : LAYER_NORMS) |
           (c->gated_mlp ? GATED : PLAIN);
    b->norm1 = b->norm2 = b->post_attn_norm = b->post_mlp_norm = c->norm;
    b->q_norm = b->k_norm = (norm_layer){ .rms = true, .eps = c->norm.eps };
    return weights_bind_block(w, b, sized, has, prefix, i, err);
}
