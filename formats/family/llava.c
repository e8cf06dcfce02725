/* llava.c - LLaVA-1.5 as transformers has it: names, shapes, configuration.
 *
 *   CLIP or SigLIP -> one of its states, or several side by side -> two linear maps ->
 *   rows of <image> -> Llama, Qwen2, Gemma or Gemma 2
 *
 * Background and traps: family/llava.md. One class of transformers builds any tower and
 * any language model, so this is also the layout of models that are composed. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/family/page.h"
#include "formats/family/parts.h"

/* ---- names ---------------------------------------------------------------------- */

// clang-format off
static const lvlm_root roots[] = {
    { VISION_TOWER_ROOT, .parts = { { clip_sections,   "vision.tower clip" },
                                    { siglip_sections, "vision.tower siglip" } } },
    { PROJECTOR_ROOT, .parts = { { mlp_sections,       "connector.kind mlp" },
                                 { mlp_bias_sections,  "connector.bias true" },
                                 { deep_mlp_sections,  "connector.kind deep_mlp" },
                                 { deep_mlp_bias_sections, "connector.biases true" },
                                 { merger_sections,    "connector.kind merger" },
                                 { resampler_sections, "connector.kind resampler" } } },
    { LANGUAGE_MODEL_ROOT, .parts = { { llama_sections,  "text.decoder llama" },
                                      { qwen2_sections,  "text.decoder qwen2" },
                                      { gemma_sections,  "text.decoder gemma" },
                                      { gemma2_sections, "text.decoder gemma2" } } },
    { LANGUAGE_HEAD_ROOT, .parts = { { tied_head_sections } } },
    { NULL },
};
// clang-format on

#define NOT_SELECTED                                                                   \
    "vision_feature_layer takes an earlier state, so that nothing reads it"

static const lvlm_unused_rule unused[] = {
    { "after_the_features", "vision.encoder.layers.{i}.*", NOT_SELECTED,
      .from = "vision.layers" },
    { "after_the_features", "vision.post_layernorm.*",
      "states are taken before the norm after the last block, so that nothing reads "
      "it" },
    { "siglip_pooling_head", "vision.head.*",
      "SigLIP's attention pooling: LLaVA takes every patch, so nothing reads it" },
    { "position_ids", "*.position_ids",
      "a buffer of old exports: always 0, 1, 2, ..." },
    ROTARY_BUFFER,
    { NULL },
};

/* ---- configuration -------------------------------------------------------------- */

static const lvlm_word towers[] = {
    { "clip_vision_model", "clip" },
    { "siglip_vision_model", "siglip" },
    { NULL },
};

static const lvlm_word decoders[] = {
    { "llama", "llama" },
    { "qwen2", "qwen2" },
    { "gemma", "gemma" },
    { "gemma2", "gemma2" },
    { NULL },
};

static const lvlm_word strategies[] = {
    { "default", "patches" },
    { "full", "all" },
    { NULL },
};

static const lvlm_word connectors[] = {
    { "mlp", "mlp" },
    { "deep_mlp", "deep_mlp" },
    { "merger", "merger" },
    { "resampler", "resampler" },
    { NULL },
};

// clang-format off
/* Class defaults of LlavaConfig. Sizes of the language model at the top of config.json
 * are not read. */
static const lvlm_setting own[] = {
    { "vision.tower",         WORD,     "vision_config.model_type",        "\"clip\"",    NULL, towers },
    { "vision.select",        SIGNED,   "vision_feature_layer",            "-2" },
    { "vision.select_rows",   WORD,     "vision_feature_select_strategy",  "\"patches\"", NULL, strategies },
    { "connector.kind",       WORD,     "lvlm_connector.kind",             "\"mlp\"",     NULL, connectors },
    { "text.decoder",         WORD,     "text_config.model_type",          "\"llama\"",   NULL, decoders },
    { "tokens.image",         INDEX,    "image_token_index|image_token_id", "32000" },
    { "tokens.pad",           MAYBE_INDEX, "text_config.pad_token_id",     "null" },
    { NULL },
};

static const lvlm_setting gemma_padding[] = {
    { "tokens.pad", MAYBE_INDEX, "text_config.pad_token_id", "0" },
    { NULL },
};

static const lvlm_setting_table settings[] = {
    { own },
    { clip_settings,   "vision.tower clip" },
    { siglip_settings, "vision.tower siglip" },
    { mlp_settings, "connector.kind mlp" },
    { deep_mlp_settings, "connector.kind deep_mlp" },
    { merger_settings, "connector.kind merger" },
    { resampler_settings, "connector.kind resampler" },
    { llama_settings,  "text.decoder llama" },
    { qwen2_settings,  "text.decoder qwen2" },
    { gemma_settings,  "text.decoder gemma" },
    { gemma_padding,   "text.decoder gemma" },
    { gemma2_settings, "text.decoder gemma2" },
    { gemma_padding,   "text.decoder gemma2" },
    { NULL },
};
// clang-format on

/* Append a state by its number: 0 enters the first block, k leaves block k - 1, and
 * negative numbers count from the last one, which is -1. */
static int add_state(cJSON *states, double *last, const cJSON *item, uint64_t layers,
                     lvlm_error *err)
{
    const double L = (double)layers;
    double number = cJSON_GetNumberValue(item);
    FAIL_IF(!(number >= -L - 1 && number <= L), err, LVLM_EFORMAT,
            "config.json: vision_feature_layer %.0f: the states of a tower of %.0f "
            "blocks are %.0f to %.0f",
            number, L, -L - 1, L);
    if (number < 0) number += L + 1;
    *last = fmax(*last, number);
    return cJSON_AddItemToArray(states, cJSON_CreateNumber(number))
               ? 0
               : lvlm_fail_memory(err);
}

/* The selected states, numbered from the first one. */
static int add_states(cJSON *states, double *last, const cJSON *config, lvlm_error *err)
{
    const uint64_t layers = config_count(config, "vision.layers");
    const cJSON *item, *const select = lvlm_json_path(config, "vision.select");
    if (cJSON_IsNumber(select)) return add_state(states, last, select, layers, err);
    LVLM_JSON_ITEMS (item, select) TRY(add_state(states, last, item, layers, err));
    return 0;
}

/* What is after the last selected state is not part of the model: vision.layers counts
 * the blocks that are. */
static int select_states(cJSON *config, lvlm_error *err)
{
    cJSON *const vision = cJSON_GetObjectItemCaseSensitive(config, "vision");
    cJSON *const states = cJSON_CreateArray();
    double last = 1;
    uint64_t out;
    if (states == NULL) return lvlm_fail_memory(err);
    const int rc = add_states(states, &last, config, err);
    const size_t n = lvlm_json_count(states);
    if (rc < 0) lvlm_json_free(states);
    TRY(rc);
    if (!lvlm_json_replace(vision, "select", states)) return lvlm_fail_memory(err);
    TRY(config_set(config, "vision.layers", (uint64_t)last, err));
    TRY(config_product(&out, config_count(config, "vision.hidden"), n, 0,
                       "vision_config: hidden_size of all selected states", err));
    return config_set(config, "vision.out", out, err);
}

/* Class rows: CLIP has one, which most models drop. */
static int derive_rows(cJSON *config, lvlm_error *err)
{
    const uint64_t grid = config_count(config, "vision.grid");
    uint64_t rows;
    if (lvlm_config_says(config, "vision.tower clip")) {
        TRY(config_product(&rows, grid, grid, 1,
                           "vision_config: image_size / patch_size", err));
        return config_set(config, "vision.rows", rows, err);
    }
    FAIL_IF(lvlm_config_says(config, "vision.select_rows patches"), err, LVLM_EFORMAT,
            "config.json: vision_feature_select_strategy 'default' drops a class row, "
            "which a SigLIP tower does not have: the first patch would be lost; 'full' "
            "is meant");
    return 0;
}

/* Maps after the first one. */
static int derive_further(cJSON *config, lvlm_error *err)
{
    const uint64_t layers = config_count(config, "connector.layers");
    FAIL_IF(layers < 2 || layers > CONNECTOR_MAX_LAYERS, err, LVLM_EFORMAT,
            "config.json: lvlm_connector.layers: expected 2 to %d, got %" PRIu64,
            CONNECTOR_MAX_LAYERS, layers);
    return config_set(config, "connector.further", layers - 1, err);
}

/* The hidden width, and what only composed models have. */
static int derive_connector(cJSON *config, lvlm_error *err)
{
    const bool merges = lvlm_config_says(config, "connector.kind merger");
    const bool deep = lvlm_config_says(config, "connector.kind deep_mlp");
    const bool mlp = deep || lvlm_config_says(config, "connector.kind mlp");
    FAIL_IF(!mlp && config_count(config, "vision.out") !=
                        config_count(config, "vision.hidden"),
            err, LVLM_EFORMAT,
            "config.json: lvlm_connector: a merger and a resampler take one state of "
            "the tower, vision_feature_layer names more");
    if (merges)
        return config_check_multiple(config, "vision.grid", "vision.merge", err);
    TRY(config_set(config, "connector.hidden", config_count(config, "text.hidden"),
                   err));
    if (deep) return derive_further(config, err);
    if (mlp) return 0;
    return config_check_multiple(config, "connector.hidden", "connector.heads", err);
}

static int derive(cJSON *config, const cJSON *hf_config, lvlm_error *err)
{
    FAIL_IF(lvlm_json_get(hf_config, "mm_vision_tower") != NULL, err, LVLM_EFORMAT,
            "config.json: mm_vision_tower: this is the layout of LLaVA's makers, which "
            "only lvlm-convert hf2native takes, as a folder");
    TRY(config_add_grid(config, err));
    TRY(config_add_quotient(config, "vision.head_dim", "vision.hidden", "vision.heads",
                            err));
    TRY(select_states(config, err));
    TRY(derive_rows(config, err));
    TRY(derive_connector(config, err));
    return decoder_derive(config, err);
}

/* Gemma's class default is tied, Llama's and Qwen2's are not. */
static bool ties(const cJSON *config)
{
    const char *const type =
        lvlm_json_string(lvlm_json_path(config, "text_config.model_type"));
    return type != NULL && strncmp(type, "gemma", 5) == 0;
}

/* ---- projections ---------------------------------------------------------------- */

#define BLIND                                                                          \
    "the language model gets no image: every <image> row would hold the embedding of " \
    "the placeholder, and nothing else in the model reports it"

#define SECOND(kind)                                                                   \
    {                                                                                  \
        "vision_to_text", "connector.fc2", "linear",                                   \
            "z[r] = W m[r] + b; z replaces the rows of <image>",                       \
            "the second map; no activation, norm or scale after it", BLIND,            \
            .when = "connector.kind " kind                                             \
    }

#define FURTHER(number)                                                                \
    {                                                                                  \
        "vision_to_text", "connector.fc" number, "linear",                             \
            "m'[r] = act(W m[r] + b), m of the map before; the last one has no act, "  \
            "and its rows replace those of <image>",                                   \
            "map " number " of connector.layers; its output before act has the stage " \
            "connector.linear_" number ", that of the last one connector.out",         \
            BLIND, .when = "connector.kind deep_mlp"                                   \
    }

static const lvlm_projection projections[] = {
    { "vision_to_text", "connector.fc1", "linear",
      "m[r] = act(W h[r] + b); h = vision.out, the selected states of row r, "
      "concatenated; act = connector.activation",
      "the first of the maps, from the tower's width to that of the language model; "
      "its output has the stage connector.linear_1; of a merger h[r] is the patches "
      "of square r, each normed",
      BLIND },
    SECOND("mlp"),
    SECOND("merger"),
    FURTHER("2"),
    FURTHER("3"),
    FURTHER("4"),
    FURTHER("5"),
    FURTHER("6"),
    FURTHER("7"),
    FURTHER("8"),
    { "vision_to_resampler", "connector.kv", "linear",
      "x[p] = norm_kv(W h[p]); h = vision.out",
      "from the tower's width to the resampler's; the identity where the two are equal",
      BLIND },
    { "resampler_queries", "connector.attn.q", "linear",
      "q[j] = W (norm_q(query[j]) + position[j]) + b, scaled by head_dim^-1/2",
      "the resampler's own queries, the same for every image", BLIND },
    { "resampler_keys", "connector.attn.k", "linear",
      "k[p] = W (x[p] + position[p]) + b; positions resampled to the image's grid",
      "positions are added before the map", BLIND },
    { "resampler_values", "connector.attn.v", "linear", "v[p] = W x[p] + b",
      "without positions", BLIND },
    { "resampler_out", "connector.attn.out", "linear",
      "a[j] = W (attention of query j) + b; no residual",
      "after the resampler's attention", BLIND },
    { "resampler_to_text", "connector.proj", "linear",
      "z[j] = W norm_out(a[j]); z replaces the rows of <image>",
      "the last map before the language model", BLIND },
    { "text_head", "text.head", "linear",
      "logits[t] = E h[t]; h = text.norm, E = text.embed.weight when tied",
      "the output layer of the language model: a matrix of its own in models of Llama, "
      "tied to the embedding, and then not stored, in those of Gemma and of small "
      "Qwen2",
      "the embedding table is used: right for models that tie it, wrong for the "
      "others" },
    { NULL },
};

/* ---- dropout --------------------------------------------------------------------- */

static const lvlm_dropout_row dropouts[] = {
    { LVLM_DROPOUT_TEXT_ATTENTION, "text_config.attention_dropout" },
    { LVLM_DROPOUT_VISION_ATTENTION, "vision_config.attention_dropout" },
    { LVLM_NO_DROPOUT },
};

/* ---- where transformers differs ------------------------------------------------- */

static const lvlm_difference differences[] = {
    { LVLM_IMAGE_ROWS_SCALED, NULL, "5.4", "text.embed",
      "with Gemma, image rows are multiplied by sqrt(hidden_size), as words are; later "
      "versions take them as the connector makes them" },
    { LVLM_FINAL_SOFTCAP, NULL, "4.52", "logits",
      "with Gemma 2, logits pass cap * tanh(logits / cap); later versions do without" },
    STORED_HEAD_IGNORED,
    { LVLM_AS_TRAINED },
};

static const char *const only_here[] = { "connector.kind deep_mlp",
                                         "connector.kind merger",
                                         "connector.kind resampler", NULL };

const lvlm_family lvlm_family_llava = {
    .name = "llava",
    .title = "LLaVA-1.5",
    .model_type = "llava",
    .settings = settings,
    .derive = derive,
    .row_counts = vocab_of_embed,
    .ties = ties,
    .roots = roots,
    .unused = unused,
    .projections = projections,
    .differences = differences,
    .dropouts = dropouts,
    .processor = "tower",
    .prompts = "llava",
    .labels = "suffix",
    .max_positions = 2048,
    .only_here = only_here,
};
