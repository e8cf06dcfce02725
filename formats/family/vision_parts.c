/* vision_parts.c - towers that several families have; see parts.h. */
#include "formats/family/page.h"
#include "formats/family/parts.h"

// clang-format off
static const lvlm_row siglip_stem[] = {
    PATCHES("embeddings.patch_embedding.weight"),
    { "patch.bias",       "embeddings.patch_embedding.bias",      "vision.hidden" },
    { "positions.weight", "embeddings.position_embedding.weight", "vision.grid*vision.grid, vision.hidden",
      .no_adapter = true },
    { NULL },
};

static const lvlm_row siglip_block[] = {
    { "norm1.weight",    "layer_norm1.weight",        "vision.hidden" },
    { "norm1.bias",      "layer_norm1.bias",          "vision.hidden" },
    { "attn.q.weight",   "self_attn.q_proj.weight",   "vision.hidden, vision.hidden" },
    { "attn.q.bias",     "self_attn.q_proj.bias",     "vision.hidden" },
    { "attn.k.weight",   "self_attn.k_proj.weight",   "vision.hidden, vision.hidden" },
    { "attn.k.bias",     "self_attn.k_proj.bias",     "vision.hidden" },
    { "attn.v.weight",   "self_attn.v_proj.weight",   "vision.hidden, vision.hidden" },
    { "attn.v.bias",     "self_attn.v_proj.bias",     "vision.hidden" },
    { "attn.out.weight", "self_attn.out_proj.weight", "vision.hidden, vision.hidden" },
    { "attn.out.bias",   "self_attn.out_proj.bias",   "vision.hidden" },
    { "norm2.weight",    "layer_norm2.weight",        "vision.hidden" },
    { "norm2.bias",      "layer_norm2.bias",          "vision.hidden" },
    PLAIN_MLP("mlp.fc1", "mlp.fc2"),
    { NULL },
};

static const lvlm_row siglip_end[] = {
    { "norm.weight", "post_layernorm.weight", "vision.hidden" },
    { "norm.bias",   "post_layernorm.bias",   "vision.hidden" },
    { NULL },
};

const lvlm_section siglip_sections[] = {
    { "vision.",            "",                    NULL,            siglip_stem },
    { "vision.blocks.{i}.", "encoder.layers.{i}.", "vision.layers", siglip_block },
    { "vision.",            "",                    NULL,            siglip_end },
    { NULL },
};

const lvlm_setting siglip_settings[] = {
    { "vision.tower",      CONSTANT, NULL,                                "\"siglip\"" },
    { "vision.hidden",     COUNT,    "vision_config.hidden_size",         "768",   "1152" },
    { "vision.layers",     COUNT,    "vision_config.num_hidden_layers",   "12",    "27" },
    { "vision.heads",      COUNT,    "vision_config.num_attention_heads", "12",    "16" },
    { "vision.mlp",        COUNT,    "vision_config.intermediate_size",   "3072",  "4096" },
    { "vision.channels",   COUNT,    "vision_config.num_channels",        "3" },
    { "vision.patch",      COUNT,    "vision_config.patch_size",          "16",    "14" },
    { "vision.image",      COUNT,    "vision_config.image_size",          "224" },
    { "vision.norm_eps",   NUMBER,   "vision_config.layer_norm_eps",      "1e-6" },
    { "vision.activation", WORD,     "vision_config.hidden_act",          "\"gelu_tanh\"", NULL, activation_words },
    { NULL },
};
// clang-format on
