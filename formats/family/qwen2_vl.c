/* qwen2_vl.c - Qwen2-VL and Qwen2.5-VL: names, shapes, configuration.
 *
 *   patches of two frames -> rotary ViT -> merger of 2 x 2 patches -> rows of
 *   <|image_pad|> and <|video_pad|> -> Qwen2 with three-axis rotary positions
 *
 * Background and traps: family/qwen2_vl.md. The generations differ only in the tower's
 * norms, MLP and windows. */
#include "formats/base/json.h"
#include "formats/base/size.h"
#include "formats/family/page.h"
#include "formats/family/parts.h"

/* ---- names ---------------------------------------------------------------------- */

// clang-format off
static const lvlm_row vision_stem[] = {
    { "patch.weight", "patch_embed.proj.weight", "vision.hidden, vision.channels*vision.frames*vision.patch*vision.patch",
      .source_shape = "vision.hidden, vision.channels, vision.frames, vision.patch, vision.patch" },
    { NULL },
};

#define VISION_ATTENTION                                                                 \
    THIRD("attn.q", "attn.qkv.", 0, "vision.hidden", "vision.hidden", false),             \
    THIRD("attn.k", "attn.qkv.", 1, "vision.hidden", "vision.hidden", false),             \
    THIRD("attn.v", "attn.qkv.", 2, "vision.hidden", "vision.hidden", false),             \
    LINEAR("attn.out", "attn.proj", "vision.hidden", "vision.hidden")

static const lvlm_row qwen2_vision_block[] = {
    NORM("norm1", "norm1", "vision.hidden"),
    VISION_ATTENTION,
    NORM("norm2", "norm2", "vision.hidden"),
    PLAIN_MLP("mlp.fc1", "mlp.fc2"),
    { NULL },
};

static const lvlm_row qwen2_5_vision_block[] = {
    { "norm1.weight", "norm1.weight", "vision.hidden" },
    VISION_ATTENTION,
    { "norm2.weight", "norm2.weight", "vision.hidden" },
    LINEAR("mlp.gate", "mlp.gate_proj", "vision.mlp", "vision.hidden"),
    LINEAR("mlp.up",   "mlp.up_proj",   "vision.mlp", "vision.hidden"),
    LINEAR("mlp.down", "mlp.down_proj", "vision.hidden", "vision.mlp"),
    { NULL },
};

static const lvlm_row qwen2_merger[] = {
    NORM("norm", "ln_q", "vision.hidden"),
    MERGER_LINEARS("mlp.0.", "mlp.2."),
    { NULL },
};

static const lvlm_row qwen2_5_merger[] = {
    { "norm.weight", "ln_q.weight", "vision.hidden" },
    MERGER_LINEARS("mlp.0.", "mlp.2."),
    { NULL },
};

#define TOWER(block)                                                \
    {                                                               \
        { "vision.",            "",            NULL,            vision_stem }, \
        { "vision.blocks.{i}.", "blocks.{i}.", "vision.layers", block },       \
        { NULL },                                                   \
    }

static const lvlm_section tower1[] = TOWER(qwen2_vision_block);
static const lvlm_section tower2[] = TOWER(qwen2_5_vision_block);
static const lvlm_section merger1[] = { { "connector.", "", NULL, qwen2_merger }, { NULL } };
static const lvlm_section merger2[] = { { "connector.", "", NULL, qwen2_5_merger }, { NULL } };

/* The hub's, which save_pretrained still writes; module names since transformers 4.52,
 * written by savers of raw state dicts; the base model saved by itself. */
#define ROOTS(tower, merger)                                                           \
    {                                                                                  \
        { "vision.", { "visual.", "model.visual." },                                   \
          .modules = 1, .parts = { { tower } } },                                      \
        { "connector.", { "visual.merger.", "model.visual.merger." },                  \
          .modules = 1, .parts = { { merger } } },                                     \
        { "text.", { "model.", "model.language_model.", "language_model." },           \
          .modules = 1, .parts = { { qwen2_sections } } },                             \
        { "text.head.", { "lm_head.", "model.lm_head." },                              \
          .parts = { { tied_head_sections } } },                                       \
        { NULL },                                                                      \
    }

static const lvlm_root qwen2_roots[] = ROOTS(tower1, merger1);
static const lvlm_root qwen2_5_roots[] = ROOTS(tower2, merger2);
// clang-format on

/* ---- configuration -------------------------------------------------------------- */

/* "mrope" means the default frequencies on three axes. */
static const lvlm_word rope_types[] = {
    { "default", "default" },
    { "mrope", "default" },
    { NULL },
};

// clang-format off
/* Text settings are in text_config since transformers 4.52; before, at the top
 * level. */
#define TEXT(key) "text_config." key "|" key
#define ROPE(key) "text_config.rope_parameters." key "|rope_parameters." key
#define SCALING(key) "|text_config.rope_scaling." key "|rope_scaling." key

/* Class defaults of Qwen2VLConfig and Qwen2_5_VLConfig: the same. */
static const lvlm_setting text_settings[] = {
    { "text.hidden",         COUNT,    TEXT("hidden_size"),                        "8192" },
    { "text.layers",         COUNT,    TEXT("num_hidden_layers"),                  "80" },
    { "text.heads",          COUNT,    TEXT("num_attention_heads"),                "64" },
    { "text.kv_heads",       COUNT,    TEXT("num_key_value_heads"),                "8" },
    { "text.mlp",            COUNT,    TEXT("intermediate_size"),                  "29568" },
    { "text.vocab",          COUNT,    TEXT("vocab_size"),                         "152064" },
    { "text.norm_eps",       NUMBER,   TEXT("rms_norm_eps"),                       "1e-5" },
    { "text.norm_offset",    CONSTANT, NULL,                                       "0" },
    { "text.rope_theta",     NUMBER,   ROPE("rope_theta") SCALING("rope_theta") "|" TEXT("rope_theta"), "1000000.0" },
    { "text.rope_type",      WORD,     ROPE("rope_type") SCALING("rope_type") SCALING("type"), "\"default\"", NULL, rope_types },
    { "text.mrope_section",  LIST,     ROPE("mrope_section") SCALING("mrope_section") },
    { "text.activation",     WORD,     TEXT("hidden_act"),                         "\"silu\"", NULL, activation_words },
    { "text.slides",         BOOL,     TEXT("use_sliding_window"),                 "false" },
    { "text.qkv_bias",       CONSTANT, NULL,                                       "true" },
    PLAIN_DECODER("image_tokens"),
    { "tokens.image",        INDEX,    "image_token_id",                           "151655" },
    { "tokens.video",        INDEX,    "video_token_id",                           "151656" },
    { "tokens.pad",          MAYBE_INDEX, TEXT("pad_token_id"),                    "null" },
    { NULL },
};

static const lvlm_setting vision_settings[] = {
    { "vision.tower",        CONSTANT, NULL,                                       "\"qwen2\"" },
    { "vision.layers",       COUNT,    "vision_config.depth",                      "32" },
    { "vision.heads",        COUNT,    "vision_config.num_heads",                  "16" },
    { "vision.channels",     COUNT,    "vision_config.in_channels|vision_config.in_chans", "3" },
    { "vision.patch",        COUNT,    "vision_config.patch_size",                 "14" },
    { "vision.frames",       COUNT,    "vision_config.temporal_patch_size",        "2" },
    { "vision.merge",        COUNT,    "vision_config.spatial_merge_size",         "2" },
    { "vision.activation",   WORD,     "vision_config.hidden_act",                 "\"quick_gelu\"", NULL, activation_words },
    { "vision.norm_eps",     CONSTANT, NULL,                                       "1e-6" },
    { "vision.rope_theta",   NUMBER,   "vision_config.rope_parameters.rope_theta", "10000.0" },
    { "connector.kind",      CONSTANT, NULL,                                       "\"merger\"" },
    { "connector.activation", CONSTANT, NULL,                                      "\"gelu\"" },
    { NULL },
};

/* In Qwen2-VL hidden_size is the width after the merger, in Qwen2.5-VL the tower's. */
static const lvlm_setting qwen2_vl_settings[] = {
    { "vision.hidden",    COUNT,    "vision_config.embed_dim",   "1280" },
    { "vision.mlp_ratio", NUMBER,   "vision_config.mlp_ratio",   "4" },
    { "connector.out",    COUNT,    "vision_config.hidden_size", "3584" },
    { NULL },
};

static const lvlm_setting qwen2_5_vl_settings[] = {
    { "vision.activation",  WORD,     "vision_config.hidden_act",              "\"silu\"", NULL, activation_words },
    { "vision.hidden",      COUNT,    "vision_config.hidden_size",             "3584" },
    { "vision.mlp",         COUNT,    "vision_config.intermediate_size",       "3420" },
    { "vision.rms_norms",   CONSTANT, NULL,                                    "true" },
    { "vision.gated_mlp",   CONSTANT, NULL,                                    "true" },
    { "vision.window",      COUNT,    "vision_config.window_size",             "112" },
    { "vision.full_blocks", LIST,     "vision_config.fullatt_block_indexes",   "[7, 15, 23, 31]" },
    { "vision.tokens_per_second", NUMBER, "vision_config.tokens_per_second",   "4" },
    { "connector.out",      COUNT,    "vision_config.out_hidden_size",         "3584" },
    { NULL },
};
// clang-format on

static const lvlm_setting_table settings1[] = {
    { vision_settings },
    { qwen2_vl_settings },
    { text_settings },
    { NULL },
};

static const lvlm_setting_table settings2[] = {
    { vision_settings },
    { qwen2_5_vl_settings },
    { text_settings },
    { NULL },
};

/* Check that the three sections add up to the pairs of a head. */
static int check_mrope(const cJSON *config, lvlm_error *err)
{
    const cJSON *item, *section = lvlm_json_path(config, "text.mrope_section");
    uint64_t sum = 0, pairs;
    LVLM_JSON_ITEMS (item, section)
        if (!lvlm_json_u64(&pairs, item) || !lvlm_add_u64(&sum, sum, pairs))
            sum = UINT64_MAX;
    /* the width is even; no overflow */
    FAIL_IF(lvlm_json_count(section) != 3 ||
                sum != config_count(config, "text.head_dim") / 2,
            err, LVLM_EFORMAT,
            "config.json: mrope_section must be three numbers that add up to half of "
            "the head's width, %llu",
            (unsigned long long)config_count(config, "text.head_dim") / 2);
    return 0;
}

static int derive(cJSON *config, const cJSON *hf_config, lvlm_error *err)
{
    (void)hf_config;
    if (lvlm_json_path(config, "vision.mlp_ratio") != NULL)
        TRY(config_add_vision_mlp(config, err));
    TRY(config_add_quotient(config, "vision.head_dim", "vision.hidden", "vision.heads",
                            err));
    FAIL_IF(config_count(config, "vision.head_dim") % 4 != 0, err, LVLM_EFORMAT,
            "config.json: vision_config: a head is %llu wide; rotary positions on two "
            "axes need a multiple of 4",
            (unsigned long long)config_count(config, "vision.head_dim"));
    TRY(decoder_derive(config, err));
    TRY(config_check_equal(config, "connector.out", "text.hidden", err));
    return check_mrope(config, err);
}

/* Windows are counted in merged patches. */
static int derive_windows(cJSON *config, const cJSON *hf_config, lvlm_error *err)
{
    TRY(derive(config, hf_config, err));
    uint64_t unit;
    TRY(config_product(&unit, config_count(config, "vision.patch"),
                       config_count(config, "vision.merge"), 0,
                       "patch_size x spatial_merge_size", err));
    FAIL_IF(config_count(config, "vision.window") < unit, err, LVLM_EFORMAT,
            "config.json: vision_config: window_size %llu is below one merged patch, "
            "%llu pixels",
            (unsigned long long)config_count(config, "vision.window"),
            (unsigned long long)unit);
    return 0;
}

static bool ties(const cJSON *config)
{
    (void)config;
    return false;
}

/* ---- projections ---------------------------------------------------------------- */

static const lvlm_projection projections[] = {
    { "vision_to_text", "connector.fc1", "linear",
      "m[u] = gelu(W [n(4u) n(4u+1) n(4u+2) n(4u+3)] + b); n = norm of vision.blocks, "
      "four neighbouring patches, concatenated",
      "the merger's first layer: a square of 2 x 2 patches becomes one row; gelu is "
      "the exact one, with erf",
      "the language model gets no image: nothing maps the tower's patches to rows" },
    { "vision_to_text", "connector.fc2", "linear",
      "z[u] = W m[u] + b; z replaces the rows of <|image_pad|> and <|video_pad|>",
      "the merger's second layer, from four tower widths to the width of the language "
      "model; no activation, norm or scale after it",
      "the language model gets no image: every image row would hold the embedding of "
      "the placeholder, and nothing else in the model reports it" },
    { "text_head", "text.head", "linear",
      "logits[t] = E h[t]; h = text.norm, E = text.embed.weight when tied",
      "the output layer of the language model; tied to the embedding, and then not "
      "stored, in the small sizes, a matrix of its own in the others",
      "the embedding table is used: right for sizes that tie it (2B, 3B), wrong for "
      "the others" },
    { NULL },
};

/* ---- where transformers differs ------------------------------------------------- */

// clang-format off
#define COLLAPSED                                                                         \
    { LVLM_VIDEO_POSITIONS_COLLAPSED, "5.3", "5.6", "text.blocks.0",                         \
      "all frames of a video get the same time, and its rows repeat once per frame; the " \
      "model was trained with a time for each" }
#define OVERLAPS                                                                          \
    { LVLM_VIDEO_OVERLAPS_TEXT, "5.3", NULL, "text.blocks.0",                                \
      "text after a video starts max(height, width) after the video's start, inside the " \
      "times of a long one; the model was trained to start after every position of the "  \
      "video" }
// clang-format on

static const lvlm_difference qwen2_differences[] = {
    COLLAPSED, OVERLAPS, STORED_HEAD_IGNORED, { LVLM_AS_TRAINED }
};

static const lvlm_difference qwen2_5_differences[] = {
    { LVLM_IMAGE_TIME_SCALED, "5.3", "5.5.4", "text.blocks.0",
      "the time of an image is its start times tokens_per_second; the model was "
      "trained with its start" },
    COLLAPSED,
    OVERLAPS,
    { LVLM_VIDEO_SECONDS_TRUNCATED, "4.52", "5.18", "text.blocks.0",
      "second_per_grid_ts is truncated to whole seconds before it scales the times of "
      "a video, so that the frames of a fast one share one time; the model was trained "
      "with the product rounded down" },
    { LVLM_VIDEO_RATE_ASSUMED, "5.0", NULL, "text.blocks.0",
      "a video prepared without its frames a second counts as 24 a second; the makers' "
      "code counts 2" },
    STORED_HEAD_IGNORED,
    { LVLM_AS_TRAINED },
};

/* ---- dropout --------------------------------------------------------------------- */

static const lvlm_dropout_row dropouts[] = {
    { LVLM_DROPOUT_TEXT_ATTENTION, "text_config.attention_dropout|attention_dropout" },
    { LVLM_NO_DROPOUT },
};

#define BOTH_GENERATIONS                                                               \
    .row_counts = vocab_of_embed, .ties = ties, .unused = rotary_buffer,               \
    .projections = projections, .dropouts = dropouts, .processor = "qwen2",            \
    .prompts = "chatml", .labels = "answers", .max_positions = 32768

const lvlm_family lvlm_family_qwen2_vl = {
    .name = "qwen2_vl",
    .title = "Qwen2-VL",
    .model_type = "qwen2_vl",
    .text_type = "qwen2",
    .settings = settings1,
    .derive = derive,
    .roots = qwen2_roots,
    .differences = qwen2_differences,
    BOTH_GENERATIONS,
};

const lvlm_family lvlm_family_qwen2_5_vl = {
    .name = "qwen2_5_vl",
    .title = "Qwen2.5-VL",
    .model_type = "qwen2_5_vl",
    .text_type = "qwen2",
    .settings = settings2,
    .derive = derive_windows,
    .roots = qwen2_5_roots,
    .differences = qwen2_5_differences,
    BOTH_GENERATIONS,
};
