/* paligemma.c - PaliGemma and PaliGemma 2: names, shapes, configuration.
 *
 *   image -> SigLIP So400m/14 -> one linear map -> rows of <image> -> Gemma or Gemma 2
 *
 * Background and traps: family/paligemma.md. The two generations share tower, connector
 * and names; they differ in the decoder's norms, caps and settings. */
#include <string.h>

#include "formats/base/json.h"
#include "formats/family/page.h"
#include "formats/family/paligemma_npz.h"

/* ---- names ---------------------------------------------------------------------- */

enum { VISION, CONNECTOR, TEXT, HEAD };

/* Generations: the hub's; transformers 4.52 to 5.5 in memory (raw state dicts of
 * FSDP and DeepSpeed, save_pretrained of 4.52.0 to 4.52.3); 5.6 on, without
 * vision_model; the mixtures that 5.4 and 5.5 wrote. */
static const lvlm_root roots[] = {
    [VISION] = { "vision.",
                 { "vision_tower.vision_model.", "vision_tower.",
                   "model.vision_tower.vision_model.", "model.vision_tower." },
                 .current = 1,
                 .modules = 3 },
    [CONNECTOR] = { "connector.",
                    { "multi_modal_projector.", "model.multi_modal_projector." },
                    .modules = 1 },
    [TEXT] = { "text.",
               { "language_model.model.", "language_model.",
                 "model.language_model.model.", "model.language_model." },
               .modules = 3 },
    [HEAD] = { "text.head.",
               { "language_model.lm_head.", "lm_head.", "model.lm_head.",
                 "model.language_model.lm_head." },
               .modules = 1 },
    { NULL },
};

// clang-format off
static const lvlm_row vision_stem[] = {
    { "patch.weight", "embeddings.patch_embedding.weight",
      "vision.hidden, vision.channels*vision.patch*vision.patch",
      .source_shape = "vision.hidden, vision.channels, vision.patch, vision.patch" },
    { "patch.bias",       "embeddings.patch_embedding.bias",      "vision.hidden" },
    { "positions.weight", "embeddings.position_embedding.weight", "vision.grid*vision.grid, vision.hidden", .no_adapter = true },
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
    { "mlp.fc1.weight",  "mlp.fc1.weight",            "vision.mlp, vision.hidden" },
    { "mlp.fc1.bias",    "mlp.fc1.bias",              "vision.mlp" },
    { "mlp.fc2.weight",  "mlp.fc2.weight",            "vision.hidden, vision.mlp" },
    { "mlp.fc2.bias",    "mlp.fc2.bias",              "vision.hidden" },
    { NULL },
};

static const lvlm_row vision_end[] = {
    { "norm.weight", "post_layernorm.weight", "vision.hidden" },
    { "norm.bias",   "post_layernorm.bias",   "vision.hidden" },
    { NULL },
};

static const lvlm_row projector[] = {
    { "proj.weight", "linear.weight", "text.hidden, vision.out", .connector = true },
    { "proj.bias",   "linear.bias",   "text.hidden",                     .connector = true },
    { NULL },
};

static const lvlm_row text_stem[] = {
    { "embed.weight", "embed_tokens.weight", "text.vocab, text.hidden", .no_adapter = true },
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

static const lvlm_row text_end[] = {
    { "norm.weight", "norm.weight", "text.hidden" },
    { NULL },
};

static const lvlm_row text_head[] = {
    { "weight", "weight", "text.vocab, text.hidden", .tied_to = "text.embed.weight" },
    { NULL },
};

#define SECTIONS(block)                                                            \
    { "vision.",            "",                    VISION, NULL,            vision_stem },  \
    { "vision.blocks.{i}.", "encoder.layers.{i}.", VISION, "vision.layers", vision_block }, \
    { "vision.",            "",                    VISION, NULL,            vision_end },   \
    { "connector.",         "",                    CONNECTOR, NULL,         projector },    \
    { "text.",              "",                    TEXT,   NULL,            text_stem },    \
    { "text.blocks.{i}.",   "layers.{i}.",         TEXT,   "text.layers",   block },        \
    { "text.",              "",                    TEXT,   NULL,            text_end },     \
    { "text.head.",         "",                    HEAD,   NULL,            text_head },    \
    { NULL }

static const lvlm_section gemma_sections[] = { SECTIONS(gemma_block) };
static const lvlm_section gemma2_sections[] = { SECTIONS(gemma2_block) };
// clang-format on

static const lvlm_unused_rule unused[] = {
    { "siglip_pooling_head", "vision.head.*",
      "SigLIP's attention pooling: PaliGemma takes every patch, so nothing reads it" },
    { "rotary_buffer", "*.rotary_emb.inv_freq",
      "a buffer of old exports: rotary frequencies follow from the configuration" },
    { "position_ids", "*.position_ids",
      "a buffer of old exports: always 0, 1, 2, ..." },
    { "siglip_pooling_head", "img/MAPHead_0/*",
      "SigLIP's attention pooling: PaliGemma takes every patch, so nothing reads it" },
    { "training_state", "opt/*",
      "the optimizer's moments in a checkpoint of big_vision: not the model's" },
    { "training_state", "chrono/*",
      "the clock of a training run of big_vision: not the model's" },
    { NULL },
};

/* ---- configuration -------------------------------------------------------------- */

/* Gemma's first files have "gelu" but mean the tanh form; the reference corrects it. */
static const lvlm_word gemma_activations[] = {
    { "gelu_pytorch_tanh", "gelu_tanh" },
    { "gelu_new", "gelu_tanh" },
    { "gelu", "gelu_tanh" },
    { NULL },
};
static const lvlm_word rope_types[] = { { "default", "default" }, { NULL } };

#define ROPE "text_config.rope_parameters."

// clang-format off
/* Class defaults of SiglipVisionConfig; without the section, those of
 * PaliGemmaConfig. */
#define VISION_SETTINGS                                                                              \
    { "vision.tower",      CONSTANT, NULL,                               "\"siglip\"" },             \
    { "vision.hidden",     COUNT,    "vision_config.hidden_size",         "768",   "1152" },         \
    { "vision.layers",     COUNT,    "vision_config.num_hidden_layers",   "12",    "27" },           \
    { "vision.heads",      COUNT,    "vision_config.num_attention_heads", "12",    "16" },           \
    { "vision.mlp",        COUNT,    "vision_config.intermediate_size",   "3072",  "4096" },         \
    { "vision.channels",   COUNT,    "vision_config.num_channels",        "3" },                     \
    { "vision.patch",      COUNT,    "vision_config.patch_size",          "16",    "14" },           \
    { "vision.image",      COUNT,    "vision_config.image_size",          "224" },                   \
    { "vision.norm_eps",   NUMBER,   "vision_config.layer_norm_eps",      "1e-6" },                  \
    { "vision.activation", WORD,     "vision_config.hidden_act",          "\"gelu_tanh\"", NULL, activation_words }, \
    { "connector.kind",    CONSTANT, NULL,                                "\"linear\"" }

/* hidden_size, vocab_size and projection_dim at the top of config.json are junk in some
 * generations and are not read. */
#define TEXT_SETTINGS(hidden_, layers_, heads_, kv_heads_, mlp_)                                     \
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
    { "text.rope_type", WORD,     ROPE "rope_type|text_config.rope_scaling.rope_type|text_config.rope_scaling.type", "\"default\"", NULL, rope_types }, \
    { "text.attention_bias", BOOL, "text_config.attention_bias",      "false" },                     \
    { "text.embed_scale", CONSTANT, NULL,                             "\"sqrt_hidden\"" },           \
    { "text.mask",      CONSTANT, NULL,                               "\"prefix_lm\"" },             \
    { "text.first_position", CONSTANT, NULL,                          "1" },                         \
    { "text.splice",    CONSTANT, NULL,                               "\"image_tokens\"" },          \
    { "tokens.image",   INDEX,    "image_token_index|image_token_id", "256000" },                    \
    { "tokens.pad",     MAYBE_INDEX, "text_config.pad_token_id",      "0" }

static const lvlm_setting gemma_settings[] = {
    VISION_SETTINGS,
    TEXT_SETTINGS("3072", "28", "16", "16", "24576"),
    { "text.activation",     WORD,     "text_config.hidden_activation|text_config.hidden_act", "\"gelu_tanh\"", NULL, gemma_activations },
    { "text.sandwich_norms", CONSTANT, NULL, "false" },
    { "text.attn_softcap",   CONSTANT, NULL, "null" },
    { "text.final_softcap",  CONSTANT, NULL, "null" },
    { "text.sliding_window", CONSTANT, NULL, "null" },
    { NULL },
};

static const lvlm_setting gemma2_settings[] = {
    VISION_SETTINGS,
    TEXT_SETTINGS("2304", "26", "8", "4", "9216"),
    { "text.activation",     WORD,        "text_config.hidden_activation|text_config.hidden_act", "\"gelu_tanh\"", NULL, gemma_activations },
    { "text.sandwich_norms", CONSTANT,    NULL, "true" },
    { "text.query_scalar",   NUMBER,      "text_config.query_pre_attn_scalar",   "256" },
    { "text.attn_softcap",   MAYBE,       "text_config.attn_logit_softcapping",  "50.0" },
    { "text.final_softcap",  MAYBE,       "text_config.final_logit_softcapping", "30.0" },
    { "text.sliding_window", MAYBE_COUNT, "text_config.sliding_window",          "4096" },
    { NULL },
};
// clang-format on

/* Derived settings, and conditions between settings. */
static int derive(cJSON *config, lvlm_error *err)
{
    TRY(config_add_grid(config, err));
    TRY(config_set(config, "vision.out", config_count(config, "vision.hidden"), err));
    TRY(config_add_quotient(config, "vision.head_dim", "vision.hidden", "vision.heads",
                            err));
    TRY(config_check_multiple(config, "text.heads", "text.kv_heads", err));
    TRY(config_check_even(config, "text.head_dim", err));
    FAIL_IF(cJSON_IsTrue(lvlm_json_path(config, "text.attention_bias")), err,
            LVLM_EFORMAT,
            "config.json: text_config: attention_bias is true; no PaliGemma has these "
            "biases");
    if (lvlm_json_path(config, "text.query_scalar") != NULL) return 0;
    return config_set(config, "text.query_scalar", /* Gemma: head_dim^-1/2 */
                      config_count(config, "text.head_dim"), err);
}

static bool is_paligemma(const cJSON *config, const char *text_type)
{
    const char *type = lvlm_json_string(lvlm_json_get(config, "model_type"));
    const char *text =
        lvlm_json_string(lvlm_json_path(config, "text_config.model_type"));
    return type != NULL && strcmp(type, "paligemma") == 0 &&
           strcmp(text != NULL ? text : "gemma", text_type) == 0;
}

static bool is_paligemma1(const cJSON *config)
{
    return is_paligemma(config, "gemma");
}

static bool is_paligemma2(const cJSON *config)
{
    return is_paligemma(config, "gemma2");
}

static const lvlm_row_count row_counts[] = {
    { "text.vocab", LVLM_EMBED_TABLE },
    { NULL },
};

/* ---- projections ---------------------------------------------------------------- */

static const lvlm_projection projections[] = {
    { "vision_to_text", "connector.proj", "vit_head",
      "z[p] = W h[p] + b for every patch p; h = vision.out, z replaces the rows of "
      "<image>",
      "the image tower's own classifier head (img/head in big_vision, trained from "
      "zero), which Hugging Face files under multi_modal_projector.linear; applied to "
      "every patch, no activation, no norm and no scale after it",
      "the language model gets no image: every <image> row would hold the embedding of "
      "the placeholder, and nothing else in the model reports it" },
    { "text_head", "text.head", "linear",
      "logits[t] = E h[t]; h = text.norm, E = text.embed.weight when tied",
      "the output layer of the language model; released checkpoints tie it to the "
      "embedding and do not store it, fine-tunes may store one of its own",
      "nothing is lost: the embedding table is used, as released checkpoints do" },
    { NULL },
};

/* ---- where transformers differs ------------------------------------------------- */

// clang-format off
#define MASK_DIFFERENCES                                                                          \
    { "padding_seen", NULL, "4.49", "text.blocks.0",                                              \
      "in a batch with labels every token attends to padding too, as if it were prefix; the "     \
      "model was trained without" },                                                              \
    { "suffix_seen_unlabelled", NULL, "5.0", "text.blocks.0",                                     \
      "in a batch without labels every token attends to the whole suffix; the model was trained " \
      "with a causal mask there" },                                                               \
    { "causal_untyped", "5.9", NULL, "text.blocks.0",                                             \
      "in a batch without token_type_ids the mask is causal everywhere; the model was trained "   \
      "to attend to the whole prefix" }
// clang-format on

static const lvlm_difference gemma_differences[] = { MASK_DIFFERENCES,
                                                     STORED_HEAD_IGNORED,
                                                     { NULL } };

#define FINAL_SOFTCAP                                                                  \
    "logits pass cap * tanh(logits / cap); PaliGemma 2 was trained without it"

static const lvlm_difference gemma2_differences[] = {
    MASK_DIFFERENCES,
    { "final_softcap", NULL, "4.52", "logits", FINAL_SOFTCAP },
    { "final_softcap", "5.23", NULL, "logits", FINAL_SOFTCAP },
    { "sliding_window_prefix", NULL, "4.53", "text.blocks.0",
      "in even blocks every token attends only to the last sliding_window keys, image "
      "and prefix tokens too; PaliGemma 2 was trained to attend to all keys" },
    { "sliding_window", "5.0", NULL, "text.blocks.0",
      "in even blocks the suffix attends only to the last sliding_window keys; "
      "PaliGemma 2 was trained to attend to all keys" },
    STORED_HEAD_IGNORED,
    { NULL },
};

const lvlm_family lvlm_family_paligemma = {
    .name = "paligemma",
    .title = "PaliGemma",
    .recognises = is_paligemma1,
    .settings = gemma_settings,
    .derive = derive,
    .row_counts = row_counts,
    .roots = roots,
    .sections = gemma_sections,
    .unused = unused,
    .projections = projections,
    .differences = gemma_differences,
    .npz = &lvlm_npz_paligemma,
    .max_positions = 8192,
};

const lvlm_family lvlm_family_paligemma2 = {
    .name = "paligemma2",
    .title = "PaliGemma 2",
    .recognises = is_paligemma2,
    .settings = gemma2_settings,
    .derive = derive,
    .row_counts = row_counts,
    .roots = roots,
    .sections = gemma2_sections,
    .unused = unused,
    .projections = projections,
    .differences = gemma2_differences,
    .npz = &lvlm_npz_paligemma2,
    .max_positions = 8192,
};
