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
    NORM("norm1", "layer_norm1", "vision.hidden"),
    LINEAR("attn.q",   "self_attn.q_proj",   "vision.hidden", "vision.hidden"),
    LINEAR("attn.k",   "self_attn.k_proj",   "vision.hidden", "vision.hidden"),
    LINEAR("attn.v",   "self_attn.v_proj",   "vision.hidden", "vision.hidden"),
    LINEAR("attn.out", "self_attn.out_proj", "vision.hidden", "vision.hidden"),
    NORM("norm2", "layer_norm2", "vision.hidden"),
    PLAIN_MLP("mlp.fc1", "mlp.fc2"),
    { NULL },
};

static const lvlm_row post_layernorm[] = {
    NORM("norm", "post_layernorm", "vision.hidden"),
    { NULL },
};

#define TOWER(stem)                                                                  \
    {                                                                                \
        { "vision.",            "",                    NULL,            stem },         \
        { "vision.blocks.{i}.", "encoder.layers.{i}.", "vision.layers", vision_block }, \
        { NULL },                                                                    \
    }

const lvlm_section siglip_sections[] = TOWER(siglip_stem);

const lvlm_section siglip_end[] = { { "vision.", "", NULL, post_layernorm }, { NULL } };

/* The name of the first norm is misspelt so in all files. */
static const lvlm_row clip_stem[] = {
    { "class", "embeddings.class_embedding", "vision.hidden" },
    PATCHES("embeddings.patch_embedding.weight"),
    { "positions.weight", "embeddings.position_embedding.weight", "vision.rows, vision.hidden",
      .no_adapter = true },
    NORM("norm_pre", "pre_layrnorm", "vision.hidden"),
    { NULL },
};

const lvlm_section clip_sections[] = TOWER(clip_stem);

/* hidden_, layers_, image_: without the section; patch_: with it. */
#define SETTINGS(tower, hidden_, layers_, patch_, image_, eps, activation)                    \
    {                                                                                         \
        { "vision.tower",      CONSTANT, NULL,                                "\"" tower "\"" },  \
        { "vision.hidden",     COUNT,    "vision_config.hidden_size",         "768",  hidden_ },  \
        { "vision.layers",     COUNT,    "vision_config.num_hidden_layers",   "12",   layers_ },  \
        { "vision.heads",      COUNT,    "vision_config.num_attention_heads", "12",   "16" },     \
        { "vision.mlp",        COUNT,    "vision_config.intermediate_size",   "3072", "4096" },   \
        { "vision.channels",   COUNT,    "vision_config.num_channels",        "3" },              \
        { "vision.patch",      COUNT,    "vision_config.patch_size",          patch_, "14" },     \
        { "vision.image",      COUNT,    "vision_config.image_size",          "224",  image_ },   \
        { "vision.norm_eps",   NUMBER,   "vision_config.layer_norm_eps",      eps },              \
        { "vision.activation", WORD,     "vision_config.hidden_act", "\"" activation "\"", NULL, activation_words }, \
        { NULL },                                                                             \
    }

const lvlm_setting siglip_settings[] =
    SETTINGS("siglip", "1152", "27", "16", "224", "1e-6", "gelu_tanh");
const lvlm_setting clip_settings[] =
    SETTINGS("clip", "1024", "24", "32", "336", "1e-5", "quick_gelu");
// clang-format on
