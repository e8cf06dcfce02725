/* paligemma.c - PaliGemma and PaliGemma 2: names, shapes, configuration.
 *
 *   image -> SigLIP So400m/14 -> one linear map -> rows of <image> -> Gemma or Gemma 2
 *
 * Background and traps: family/paligemma.md. The two generations share tower, connector
 * and names; they differ in the decoder's norms, caps and settings. */
#include "formats/base/json.h"
#include "formats/family/page.h"
#include "formats/family/paligemma_npz.h"
#include "formats/family/parts.h"

/* ---- names ---------------------------------------------------------------------- */

// clang-format off
static const lvlm_row projector[] = {
    CONNECTOR_LINEAR("proj", "linear.", "text.hidden", "vision.out"),
    { NULL },
};

static const lvlm_section connector[] = { { "connector.", "", NULL, projector }, { NULL } };

#define ROOTS(decoder)                                                             \
    {                                                                              \
        { VISION_TOWER_ROOT, .parts = { { siglip_sections }, { siglip_end } } },   \
        { PROJECTOR_ROOT, .parts = { { connector } } },                            \
        { LANGUAGE_MODEL_ROOT, .parts = { { decoder } } },                         \
        { LANGUAGE_HEAD_ROOT, .parts = { { tied_head_sections } } },               \
        { NULL },                                                                  \
    }

static const lvlm_root gemma_roots[] = ROOTS(gemma_sections);
static const lvlm_root gemma2_roots[] = ROOTS(gemma2_sections);
// clang-format on

static const lvlm_unused_rule unused[] = {
    { "siglip_pooling_head", "vision.head.*",
      "SigLIP's attention pooling: PaliGemma takes every patch, so nothing reads it" },
    ROTARY_BUFFER,
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

static const lvlm_setting linear[] = {
    { "connector.kind", CONSTANT, NULL, "\"linear\"" },
    { NULL },
};

/* hidden_size, vocab_size and projection_dim at the top of config.json are junk in some
 * generations and are not read. */
static const lvlm_setting whole[] = {
    { "text.mask", CONSTANT, NULL, "\"prefix_lm\"" },
    { "text.first_position", CONSTANT, NULL, "1" },
    { "tokens.image", INDEX, "image_token_index|image_token_id", "256000" },
    { "tokens.pad", MAYBE_INDEX, "text_config.pad_token_id", "0" },
    { NULL },
};

static const lvlm_setting_table settings1[] = {
    { siglip_settings }, { linear }, { gemma_settings }, { whole }, { NULL },
};

static const lvlm_setting_table settings2[] = {
    { siglip_settings }, { linear }, { gemma2_settings }, { whole }, { NULL },
};

/* Derived settings, and conditions between settings. */
static int derive(cJSON *config, const cJSON *hf_config, lvlm_error *err)
{
    (void)hf_config;
    TRY(config_add_grid(config, err));
    TRY(config_set(config, "vision.out", config_count(config, "vision.hidden"), err));
    TRY(config_add_quotient(config, "vision.head_dim", "vision.hidden", "vision.heads",
                            err));
    return decoder_derive(config, err);
}

static bool is_gemma(const cJSON *config)
{
    return lvlm_json_string(lvlm_json_path(config, "text_config.model_type")) == NULL ||
           lvlm_config_says(config, "text_config.model_type gemma");
}

static bool is_gemma2(const cJSON *config)
{
    return lvlm_config_says(config, "text_config.model_type gemma2");
}

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
    { LVLM_PADDING_SEEN, NULL, "4.49", "text.blocks.0",                                              \
      "in a batch with labels every token attends to padding too, as if it were prefix; the "     \
      "model was trained without" },                                                              \
    { LVLM_SUFFIX_SEEN_UNLABELLED, NULL, "5.0", "text.blocks.0",                                     \
      "in a batch without labels every token attends to the whole suffix; the model was trained " \
      "with a causal mask there" },                                                               \
    { LVLM_CAUSAL_UNTYPED, "5.9", NULL, "text.blocks.0",                                             \
      "in a batch without token_type_ids the mask is causal everywhere; the model was trained "   \
      "to attend to the whole prefix" }
// clang-format on

static const lvlm_difference gemma_differences[] = { MASK_DIFFERENCES,
                                                     STORED_HEAD_IGNORED,
                                                     { LVLM_AS_TRAINED } };

#define FINAL_SOFTCAP                                                                  \
    "logits pass cap * tanh(logits / cap); PaliGemma 2 was trained without it"

static const lvlm_difference gemma2_differences[] = {
    MASK_DIFFERENCES,
    { LVLM_FINAL_SOFTCAP, NULL, "4.52", "logits", FINAL_SOFTCAP },
    { LVLM_FINAL_SOFTCAP, "5.23", NULL, "logits", FINAL_SOFTCAP },
    { LVLM_SLIDING_WINDOW_PREFIX, NULL, "4.53", "text.blocks.0",
      "in even blocks every token attends only to the last sliding_window keys, image "
      "and prefix tokens too; PaliGemma 2 was trained to attend to all keys" },
    { LVLM_SLIDING_WINDOW, "5.0", NULL, "text.blocks.0",
      "in even blocks the suffix attends only to the last sliding_window keys; "
      "PaliGemma 2 was trained to attend to all keys" },
    STORED_HEAD_IGNORED,
    { LVLM_AS_TRAINED },
};

/* ---- dropout --------------------------------------------------------------------- */

static const lvlm_dropout_row dropouts[] = {
    { LVLM_DROPOUT_TEXT_BRANCHES, NULL, false },
    { LVLM_DROPOUT_TEXT_ATTENTION, "text_config.attention_dropout", true },
    { LVLM_DROPOUT_VISION_ATTENTION, "vision_config.attention_dropout", true },
    { LVLM_NO_DROPOUT },
};

#define BOTH_GENERATIONS                                                               \
    .model_type = "paligemma", .derive = derive, .row_counts = vocab_of_embed,         \
    .unused = unused, .projections = projections, .dropouts = dropouts,                \
    .processor = "siglip", .prompts = "paligemma", .labels = "suffix",                 \
    .max_positions = 8192

const lvlm_family lvlm_family_paligemma = {
    .name = "paligemma",
    .title = "PaliGemma",
    .recognises = is_gemma,
    .text_type = "gemma",
    .settings = settings1,
    .roots = gemma_roots,
    .differences = gemma_differences,
    .npz = &lvlm_npz_paligemma,
    BOTH_GENERATIONS,
};

const lvlm_family lvlm_family_paligemma2 = {
    .name = "paligemma2",
    .title = "PaliGemma 2",
    .recognises = is_gemma2,
    .text_type = "gemma2",
    .settings = settings2,
    .roots = gemma2_roots,
    .differences = gemma2_differences,
    .npz = &lvlm_npz_paligemma2,
    BOTH_GENERATIONS,
};
