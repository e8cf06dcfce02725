/* text_parts.c - language models that several families have; see parts.h. */
#include <inttypes.h>

#include "formats/base/json.h"
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

/* In the order of the canonical configuration; rotary settings are between the two. */
#define LLAMA_SIZES(vocab_, mlp_)                                                                    \
    { "text.hidden",         COUNT,       "text_config.hidden_size",         "4096" },               \
    { "text.layers",         COUNT,       "text_config.num_hidden_layers",   "32" },                 \
    { "text.heads",          COUNT,       "text_config.num_attention_heads", "32" },                 \
    { "text.kv_heads",       COUNT,       "text_config.num_key_value_heads|text_config.num_attention_heads", "32" }, \
    { "text.head_dim",       MAYBE_COUNT, "text_config.head_dim",            "null" },               \
    { "text.mlp",            COUNT,       "text_config.intermediate_size",   mlp_ },                 \
    { "text.vocab",          COUNT,       "text_config.vocab_size",          vocab_ },               \
    { "text.norm_eps",       NUMBER,      "text_config.rms_norm_eps",        "1e-6" },               \
    { "text.norm_offset",    CONSTANT,    NULL,                              "0" },                  \
    LLAMA_ROPE("10000.0"),                                                                           \
    { "text.activation",     WORD,        "text_config.hidden_act",          "\"silu\"", NULL, activation_words }, \
    PLAIN_DECODER("image_tokens")

const lvlm_setting llama_settings[] = {
    LLAMA_SIZES("32000", "11008"),
    { "text.attention_bias", BOOL,        "text_config.attention_bias",      "false" },
    { "text.mlp_bias",       BOOL,        "text_config.mlp_bias",            "false" },
    { NULL },
};

const lvlm_setting qwen2_settings[] = {
    LLAMA_SIZES("151936", "22016"),
    { "text.qkv_bias",       CONSTANT,    NULL,                              "true" },
    { "text.slides",         BOOL,        "text_config.use_sliding_window",  "false" },
    { NULL },
};
// clang-format on

/* Settings that, if true, ask for what no part here computes. */
static const struct {
    const char *path, *why;
} refused[] = {
    { "text.attention_bias",
      "attention_bias is true; no such decoder has these biases" },
    { "text.mlp_bias", "mlp_bias is true; no such decoder has these biases" },
    { "text.slides", "use_sliding_window is true; every released model has full "
                     "attention in all layers, and this version runs nothing else" },
};

/* What the settings of LLAMA_ROPE say is complete. */
static int check_llama_rope(const cJSON *config, lvlm_error *err)
{
    static const char *const needed[] = { "text.rope_factor", "text.rope_low",
                                          "text.rope_high", "text.rope_original" };
    double values[4];
    if (!lvlm_config_says(config, "text.rope_type llama3")) return 0;
    for (size_t i = 0; i < 4; i++)
        FAIL_IF(!lvlm_json_double(&values[i], lvlm_json_path(config, needed[i])), err,
                LVLM_EFORMAT,
                "config.json: rope type llama3 needs factor, low_freq_factor, "
                "high_freq_factor and original_max_position_embeddings (no %s)",
                needed[i]);
    FAIL_IF(!(values[1] < values[2]), err, LVLM_EFORMAT,
            "config.json: rope: low_freq_factor has to be below high_freq_factor");
    return 0;
}

static int check_even(const cJSON *config, const char *path, lvlm_error *err)
{
    const uint64_t value = config_count(config, path);
    FAIL_IF(value % 2 != 0, err, LVLM_EFORMAT,
            "config.json: %s %" PRIu64 " is odd; rotary positions need pairs", path,
            value);
    return 0;
}

int decoder_derive(cJSON *config, lvlm_error *err)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        FAIL_IF(cJSON_IsTrue(lvlm_json_path(config, refused[i].path)), err,
                LVLM_EFORMAT, "config.json: %s", refused[i].why);
    if (config_count(config, "text.head_dim") == 0)
        TRY(config_add_quotient(config, "text.head_dim", "text.hidden", "text.heads",
                                err));
    TRY(config_check_multiple(config, "text.heads", "text.kv_heads", err));
    TRY(check_even(config, "text.head_dim", err));
    if (lvlm_json_path(config, "text.query_scalar") == NULL)
        TRY(config_set(config, "text.query_scalar",
                       config_count(config, "text.head_dim"), err));
    return check_llama_rope(config, err);
}
