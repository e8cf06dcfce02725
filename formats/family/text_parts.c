/* text_parts.c - language models that several families have; see parts.h. */
#include "formats/family/page.h"
#include "formats/family/parts.h"

// clang-format off
static const lvlm_row stem[] = {
    { "embed.weight", "embed_tokens.weight", "text.vocab, text.hidden", .no_adapter = true },
    { NULL },
};

const lvlm_row llama_block[] = {
    { "norm1.weight", "input_layernorm.weight",          "text.hidden" },
    ATTENTION_ROWS,
    { "norm2.weight", "post_attention_layernorm.weight", "text.hidden" },
    MLP_ROWS,
    { NULL },
};

static const lvlm_row qwen2_block[] = {
    { "norm1.weight", "input_layernorm.weight", "text.hidden" },
    ATTENTION_ROWS,
    { "attn.q.bias",  "self_attn.q_proj.bias",  "text.heads*text.head_dim" },
    { "attn.k.bias",  "self_attn.k_proj.bias",  "text.kv_heads*text.head_dim" },
    { "attn.v.bias",  "self_attn.v_proj.bias",  "text.kv_heads*text.head_dim" },
    { "norm2.weight", "post_attention_layernorm.weight", "text.hidden" },
    MLP_ROWS,
    { NULL },
};

/* post_attention_layernorm is before the MLP in Gemma and after attention in Gemma 2:
 * one source name, two native ones. */
static const lvlm_row gemma_block[] = {
    { "norm1.weight", "input_layernorm.weight",          "text.hidden" },
    { "norm2.weight", "post_attention_layernorm.weight", "text.hidden" },
    ATTENTION_ROWS,
    MLP_ROWS,
    { NULL },
};

static const lvlm_row gemma2_block[] = {
    { "norm1.weight",          "input_layernorm.weight",            "text.hidden" },
    { "post_attn_norm.weight", "post_attention_layernorm.weight",   "text.hidden" },
    { "norm2.weight",          "pre_feedforward_layernorm.weight",  "text.hidden" },
    { "post_mlp_norm.weight",  "post_feedforward_layernorm.weight", "text.hidden" },
    ATTENTION_ROWS,
    MLP_ROWS,
    { NULL },
};

const lvlm_row text_end[] = {
    { "norm.weight", "norm.weight", "text.hidden" },
    { NULL },
};

#define DECODER(block)                                              \
    {                                                               \
        { "text.",            "",            NULL,          stem },     \
        { "text.blocks.{i}.", "layers.{i}.", "text.layers", block },    \
        { "text.",            "",            NULL,          text_end }, \
        { NULL },                                                   \
    }

const lvlm_section llama_sections[] = DECODER(llama_block);
const lvlm_section qwen2_sections[] = DECODER(qwen2_block);
const lvlm_section gemma_sections[] = DECODER(gemma_block);
const lvlm_section gemma2_sections[] = DECODER(gemma2_block);

static const lvlm_row head[] = {
    { "weight", "weight", "text.vocab, text.hidden" },
    { NULL },
};

static const lvlm_row tied_head[] = {
    { "weight", "weight", "text.vocab, text.hidden", .tied_to = LVLM_EMBED_TABLE },
    { NULL },
};

const lvlm_section head_sections[] = { { "text.head.", "", NULL, head }, { NULL } };
const lvlm_section tied_head_sections[] = { { "text.head.", "", NULL, tied_head }, { NULL } };

const lvlm_row_count vocab_of_embed[] = { { "text.vocab", LVLM_EMBED_TABLE }, { NULL } };

/* ---- settings -------------------------------------------------------------------- */

/* Gemma's first files have "gelu" but mean the tanh form; the reference corrects it. */
static const lvlm_word gemma_activations[] = {
    { "gelu_pytorch_tanh", "gelu_tanh" },
    { "gelu_new", "gelu_tanh" },
    { "gelu", "gelu_tanh" },
    { NULL },
};

static const lvlm_word default_rope[] = { { "default", "default" }, { NULL } };

#define ROPE "text_config.rope_parameters."

#define GEMMA(hidden_, layers_, heads_, kv_heads_, mlp_)                                             \
    { "text.hidden",    COUNT,    "text_config.hidden_size",          hidden_,   "2048" },           \
    { "text.layers",    COUNT,    "text_config.num_hidden_layers",    layers_,   "18" },             \
    { "text.heads",     COUNT,    "text_config.num_attention_heads",  heads_,    "8" },              \
    { "text.kv_heads",  COUNT,    "text_config.num_key_value_heads",  kv_heads_, "1" },              \
    { "text.head_dim",  COUNT,    "text_config.head_dim",             "256" },                       \
    { "text.mlp",       COUNT,    "text_config.intermediate_size",    mlp_,      "16384" },          \
    { "text.vocab",     COUNT,    "text_config.vocab_size",           "256000",  "257152" },         \
    { "text.norm_eps",  NUMBER,   "text_config.rms_norm_eps",         "1e-6" },                      \
    { "text.norm_offset", CONSTANT, NULL,                             "1" },                         \
    { "text.rope_theta", NUMBER,  ROPE "rope_theta|text_config.rope_scaling.rope_theta|text_config.rope_theta", "10000.0" }, \
    { "text.rope_type", WORD,     ROPE "rope_type|text_config.rope_scaling.rope_type|text_config.rope_scaling.type", "\"default\"", NULL, default_rope }, \
    { "text.attention_bias", BOOL, "text_config.attention_bias",      "false" },                     \
    { "text.embed_scale", CONSTANT, NULL,                             "\"sqrt_hidden\"" },           \
    { "text.mask",      CONSTANT, NULL,                               "\"causal\"" },                \
    { "text.first_position", CONSTANT, NULL,                          "0" },                         \
    { "text.splice",    CONSTANT, NULL,                               "\"image_tokens\"" },          \
    { "text.activation", WORD, "text_config.hidden_activation|text_config.hidden_act", "\"gelu_tanh\"", NULL, gemma_activations }

const lvlm_setting gemma_settings[] = {
    GEMMA("3072", "28", "16", "16", "24576"),
    { "text.sandwich_norms", CONSTANT, NULL, "false" },
    { "text.attn_softcap",   CONSTANT, NULL, "null" },
    { "text.final_softcap",  CONSTANT, NULL, "null" },
    { "text.sliding_window", CONSTANT, NULL, "null" },
    { NULL },
};

const lvlm_setting gemma2_settings[] = {
    GEMMA("2304", "26", "8", "4", "9216"),
    { "text.sandwich_norms", CONSTANT,    NULL, "true" },
    { "text.query_scalar",   NUMBER,      "text_config.query_pre_attn_scalar",   "256" },
    { "text.attn_softcap",   MAYBE,       "text_config.attn_logit_softcapping",  "50.0" },
    { "text.final_softcap",  MAYBE,       "text_config.final_logit_softcapping", "30.0" },
    { "text.sliding_window", MAYBE_COUNT, "text_config.sliding_window",          "4096" },
    { NULL },
};
// clang-format on
