/* transformer_weights.c - names and fields of a block's weights; see transformer.h. */
#include <assert.h>
#include <stdio.h>

#include "runtime/block/transformer.h"

enum { PREFIX_BYTES = 64 }; /* far above any prefix of blocks */

// clang-format off
#define FIELD(field) WEIGHT_FIELD(transformer_block, field)

/* A block has attn or cross, and fc1 and fc2 or gate, up and down. */
static const weight_row rows[] = {
    { "norm1.weight",          FIELD(norm1.w) },
    { "norm1.bias",            FIELD(norm1.b) },
    { "attn.q.weight",         FIELD(q_w) },
    { "attn.q.bias",           FIELD(q_b) },
    { "attn.k.weight",         FIELD(k_w) },
    { "attn.k.bias",           FIELD(k_b) },
    { "attn.v.weight",         FIELD(v_w) },
    { "attn.v.bias",           FIELD(v_b) },
    { "attn.out.weight",       FIELD(out_w) },
    { "attn.out.bias",         FIELD(out_b) },
    { "cross.q.weight",        FIELD(q_w) },
    { "cross.k.weight",        FIELD(k_w) },
    { "cross.v.weight",        FIELD(v_w) },
    { "cross.q_norm.weight",   FIELD(q_norm.w) },
    { "cross.k_norm.weight",   FIELD(k_norm.w) },
    { "cross.out.weight",      FIELD(out_w) },
    { "attn_gate",             FIELD(attn_gate) },
    { "post_attn_norm.weight", FIELD(post_attn_norm.w) },
    { "norm2.weight",          FIELD(norm2.w) },
    { "norm2.bias",            FIELD(norm2.b) },
    { "mlp.fc1.weight",        FIELD(gate_w) },
    { "mlp.fc1.bias",          FIELD(gate_b) },
    { "mlp.fc2.weight",        FIELD(down_w) },
    { "mlp.fc2.bias",          FIELD(down_b) },
    { "mlp.gate.weight",       FIELD(gate_w) },
    { "mlp.gate.bias",         FIELD(gate_b) },
    { "mlp.up.weight",         FIELD(up_w) },
    { "mlp.up.bias",           FIELD(up_b) },
    { "mlp.down.weight",       FIELD(down_w) },
    { "mlp.down.bias",         FIELD(down_b) },
    { "mlp_gate",              FIELD(mlp_gate) },
    { "post_mlp_norm.weight",  FIELD(post_mlp_norm.w) },
    WEIGHT_END,
};
// clang-format on

int transformer_bind(transformer_block *b, weights *w, const transformer_config *c,
                     const char *prefix, size_t i, lvlm_error *err)
{
    char full[PREFIX_BYTES];
    const int n = snprintf(full, sizeof full, "%s%zu.", prefix, i);
    assert(n > 0 && (size_t)n < sizeof full && c->norm.eps > 0);
    (void)n;
    b->norm1 = b->norm2 = b->post_attn_norm = b->post_mlp_norm = c->norm;
    b->q_norm = b->k_norm = (norm_layer){ .rms = true, .eps = c->norm.eps };
    TRY(weights_bind(w, b, rows, full, err));
    assert(b->q_w.w.data != NULL && b->out_w.w.data != NULL && b->k_w.w.data != NULL);
    assert(b->gate_w.w.data != NULL && b->down_w.w.data != NULL);
    return 0;
}
