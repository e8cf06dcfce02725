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

static const lvlm_row vision_block[] = {
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

static const lvlm_row post_layernorm[] = {
    { "norm.weight", "post_layernorm.weight", "vision.hidden" },
    { "norm.bias",   "post_layernorm.bias",   "vision.hidden" },
    { NULL },
};

const lvlm_section siglip_sections[] = {
    { "vision.",            "",                    NULL,            siglip_stem },
    { "vision.blocks.{i}.", "encoder.layers.{i}.", "vision.layers", vision_block },
    { NULL },
};

const lvlm_section siglip_end[] = { { "vision.", "", NULL, post_layernorm }, { NULL } };

/* The name of the first norm is misspelt so in all files. */
static const lvlm_row clip_stem[] = {
    { "class", "embeddings.class_embedding", "vision.hidden" },
    PATCHES("embeddings.patch_embedding.weight"),
    { "positions.weight", "embeddings.position_embedding.weight", "vision.rows, vision.hidden",
      .no_adapter = true },
    { "norm_pre.weight",  "pre_layrnorm.weight",                  "vision.hidden" },
    { "norm_pre.bias",    "pre_layrnorm.bias",                    "vision.hidden" },
    { NULL },
};

const lvlm_section clip_sections[] = {
    { "vision.",            "",                    NULL,            clip_stem },
    { "vision.blocks.{i}.", "encoder.layers.{i}.", "vision.layers", vision_block },
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

const lvlm_setting clip_settings[] = {
    { "vision.tower",      CONSTANT, NULL,                                "\"clip\"" },
    { "vision.hidden",     COUNT,    "vision_config.hidden_size",         "768",   "1024" },
    { "vision.layers",     COUNT,    "vision_config.num_hidden_layers",   "12",    "24" },
    { "vision.heads",      COUNT,    "vision_config.num_attention_heads", "12",    "16" },
    { "vision.mlp",        COUNT,    "vision_config.intermediate_size",   "3072",  "4096" },
    { "vision.channels",   COUNT,    "vision_config.num_channels",        "3" },
    { "vision.patch",      COUNT,    "vision_config.patch_size",          "32",    "14" },
    { "vision.image",      COUNT,    "vision_config.image_size",          "224",   "336" },
    { "vision.norm_eps",   NUMBER,   "vision_config.layer_norm_eps",      "1e-5" },
    { "vision.activation", WORD,     "vision_config.hidden_act",          "\"quick_gelu\"", NULL, activation_words },
    { NULL },
};
// clang-format on
