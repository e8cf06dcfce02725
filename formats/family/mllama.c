/* mllama.c - Llama 3.2-Vision: names, shapes, configuration.
 *
 *   up to four tiles per image -> ViT of local and gated global blocks -> its last and
 *   five earlier states, concatenated -> one linear map -> keys and values of gated
 *   cross-attention layers between the layers of Llama 3.1
 *
 * Background and traps: family/mllama.md. */
#include "formats/base/json.h"
#include "formats/family/page.h"
#include "formats/family/parts.h"

/* ---- names ---------------------------------------------------------------------- */

// clang-format off
static const lvlm_row vision_stem[] = {
    { "class", "class_embedding", "vision.hidden" },
    PATCHES("patch_embedding.weight"),
    { "positions.gate",   "gated_positional_embedding.gate",      "1" },
    { "positions.weight", "gated_positional_embedding.embedding", "vision.rows, vision.hidden" },
    { "positions.tiles",  "gated_positional_embedding.tile_embedding.weight",
      "vision.aspect_ids, vision.tiles, vision.rows, vision.hidden",
      .source_shape = "vision.aspect_ids, vision.tiles*vision.rows*vision.hidden",
      .no_adapter = true },
    { "pre_tile.gate",    "pre_tile_positional_embedding.gate",   "1" },
    { "pre_tile.weight",  "pre_tile_positional_embedding.embedding.weight",
      "vision.aspect_ids, vision.tiles, vision.hidden", .source_shape = "vision.aspect_ids, vision.tiles*vision.hidden",
      .no_adapter = true },
    NORM("norm_pre", "layernorm_pre", "vision.hidden"),
    { NULL },
};

#define VISION_BLOCK                                                                                  \
    NORM("norm1", "input_layernorm", "vision.hidden"),                                         \
    { "attn.q.weight",   "self_attn.q_proj.weight",         "vision.hidden, vision.hidden" }, \
    { "attn.k.weight",   "self_attn.k_proj.weight",         "vision.hidden, vision.hidden" }, \
    { "attn.v.weight",   "self_attn.v_proj.weight",         "vision.hidden, vision.hidden" }, \
    { "attn.out.weight", "self_attn.o_proj.weight",         "vision.hidden, vision.hidden" }, \
    NORM("norm2", "post_attention_layernorm", "vision.hidden"),                                \
    PLAIN_MLP("mlp.fc1", "mlp.fc2")

static const lvlm_row local_block[] = { VISION_BLOCK, { NULL } };

/* Gates are stored before tanh, here too. */
static const lvlm_row global_block[] = {
    VISION_BLOCK,
    { "attn_gate", "gate_attn", "1" },
    { "mlp_gate",  "gate_ffn",  "1" },
    { NULL },
};

static const lvlm_row vision_middle[] = {
    NORM("norm_post", "layernorm_post", "vision.hidden"),
    { "post_tile.gate",   "post_tile_positional_embedding.gate", "1" },
    { "post_tile.weight", "post_tile_positional_embedding.embedding.weight",
      "vision.aspect_ids, vision.tiles, vision.hidden", .source_shape = "vision.aspect_ids, vision.tiles*vision.hidden",
      .no_adapter = true },
    { NULL },
};

static const lvlm_row projector[] = {
    CONNECTOR_LINEAR("proj", "", "text.hidden", "vision.out"),
    { NULL },
};

static const lvlm_row text_stem[] = {
    { "embed.weight", "embed_tokens.weight", "text.embed_rows, text.hidden", .no_adapter = true },
    { NULL },
};

static const lvlm_row cross_block[] = {
    { "norm1.weight",        "input_layernorm.weight",          "text.hidden" },
    { "cross.q.weight",      "cross_attn.q_proj.weight",        "text.heads*text.head_dim, text.hidden" },
    { "cross.k.weight",      "cross_attn.k_proj.weight",        "text.kv_heads*text.head_dim, text.hidden" },
    { "cross.v.weight",      "cross_attn.v_proj.weight",        "text.kv_heads*text.head_dim, text.hidden" },
    { "cross.q_norm.weight", "cross_attn.q_norm.weight",        "text.head_dim" },
    { "cross.k_norm.weight", "cross_attn.k_norm.weight",        "text.head_dim" },
    { "cross.out.weight",    "cross_attn.o_proj.weight",        "text.hidden, text.heads*text.head_dim" },
    { "attn_gate",           "cross_attn_attn_gate",            "1" },
    { "norm2.weight",        "post_attention_layernorm.weight", "text.hidden" },
    MLP_ROWS,
    { "mlp_gate",            "cross_attn_mlp_gate",             "1" },
    { NULL },
};

static const lvlm_section tower[] = {
    { "vision.",                   "",                               NULL,                   vision_stem },
    { "vision.blocks.{i}.",        "transformer.layers.{i}.",        "vision.layers",        local_block },
    { "vision.",                   "",                               NULL,                   vision_middle },
    { "vision.global_blocks.{i}.", "global_transformer.layers.{i}.", "vision.global_layers", global_block },
    { NULL },
};

static const lvlm_section connector[] = { { "connector.", "", NULL, projector }, { NULL } };

static const lvlm_section decoder[] = {
    { "text.",            "",            NULL,          text_stem },
    { "text.blocks.{i}.", "layers.{i}.", "text.layers", llama_block, .not_blocks = "text.cross_layers" },
    { "text.blocks.{i}.", "layers.{i}.", "text.layers", cross_block, .only_blocks = "text.cross_layers" },
    { "text.",            "",            NULL,          text_end },
    { NULL },
};

/* The hub's, which save_pretrained of 5.23 writes again; module names since
 * transformers 4.52; the base model saved by itself; the language model saved by
 * itself. The head is never tied: the embedding has more rows. */
static const lvlm_root roots[] = {
    { "vision.", { "vision_model.", "model.vision_model." },
      .modules = 1, .parts = { { tower } } },
    { "connector.", { "multi_modal_projector.", "model.multi_modal_projector." },
      .modules = 1, .parts = { { connector } } },
    { "text.", { "language_model.model.", "model.language_model.", "language_model.",
                 "model.language_model.model.", "model." },
      .modules = 1, .parts = { { decoder } } },
    { "text.head.", { "language_model.lm_head.", "lm_head.", "model.lm_head.",
                      "model.language_model.lm_head." },
      .modules = 1, .parts = { { head_sections } } },
    { NULL },
};
// clang-format on

static const lvlm_row_count row_counts[] = {
    { "text.vocab", "text.head.weight" },
    { "text.embed_rows", LVLM_EMBED_TABLE },
    { NULL },
};

/* ---- configuration -------------------------------------------------------------- */

// clang-format off
#define VISION(key) "vision_config." key
#define TEXT(key) "text_config." key

static const lvlm_setting own_settings[] = {
    { "vision.tower",         CONSTANT, NULL,                                  "\"tiles\"" },
    { "vision.hidden",        COUNT,    VISION("hidden_size"),                 "1280" },
    { "vision.layers",        COUNT,    VISION("num_hidden_layers"),           "32" },
    { "vision.global_layers", COUNT,    VISION("num_global_layers"),           "8" },
    { "vision.heads",         COUNT,    VISION("attention_heads") "|" VISION("num_attention_heads"), "16" },
    { "vision.mlp",           COUNT,    VISION("intermediate_size"),           "5120" },
    { "vision.channels",      COUNT,    VISION("num_channels"),                "3" },
    { "vision.patch",         COUNT,    VISION("patch_size"),                  "14" },
    { "vision.image",         COUNT,    VISION("image_size"),                  "448" },
    { "vision.tiles",         COUNT,    VISION("max_num_tiles"),               "4" },
    { "vision.aspects",       LIST,     VISION("supported_aspect_ratios"),
      "[[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]]" },
    { "vision.taps",          LIST,     VISION("intermediate_layers_indices"), "[3, 7, 15, 23, 30]" },
    { "vision.out",           COUNT,    VISION("vision_output_dim"),           "7680" },
    { "vision.norm_eps",      NUMBER,   VISION("norm_eps"),                    "1e-5" },
    { "vision.outer_norm_eps", CONSTANT, NULL,                                 "1e-5" },
    { "vision.activation",    WORD,     VISION("hidden_act"),                  "\"gelu\"", NULL, activation_words },
    { "connector.kind",       CONSTANT, NULL,                                  "\"linear\"" },
    { "text.hidden",          COUNT,    TEXT("hidden_size"),                   "4096" },
    { "text.layers",          COUNT,    TEXT("num_hidden_layers"),             "40" },
    { "text.cross_layers",    LIST,     TEXT("cross_attention_layers"),        "[3, 8, 13, 18, 23, 28, 33, 38]" },
    { "text.heads",           COUNT,    TEXT("num_attention_heads"),           "32" },
    { "text.kv_heads",        COUNT,    TEXT("num_key_value_heads"),           "8" },
    { "text.mlp",             COUNT,    TEXT("intermediate_size"),             "14336" },
    { "text.vocab",           COUNT,    TEXT("vocab_size"),                    "128256" },
    { "text.embed_rows",      COUNT,    TEXT("vocab_size"),                    "128256" },
    { "text.norm_eps",        NUMBER,   TEXT("rms_norm_eps"),                  "1e-5" },
    { "text.norm_offset",     CONSTANT, NULL,                                  "0" },
    LLAMA_ROPE("500000.0"),
    { "text.activation",      WORD,     TEXT("hidden_act"),                    "\"silu\"", NULL, activation_words },
    PLAIN_DECODER("cross_attention"),
    { "tokens.image",         INDEX,    "image_token_index|image_token_id",    "128256" },
    { "tokens.pad",           MAYBE_INDEX, TEXT("pad_token_id"),               "128004" },
    { NULL },
};
// clang-format on

static const lvlm_setting_table settings[] = { { own_settings }, { NULL } };

/* Check that every number of the list at `path` is below `limit`. */
static int check_list(const cJSON *config, const char *path, const char *limit,
                      lvlm_error *err)
{
    const cJSON *item;
    uint64_t value;
    LVLM_JSON_ITEMS (item, lvlm_json_path(config, path))
        FAIL_IF(!lvlm_json_u64(&value, item) || value >= config_count(config, limit),
                err, LVLM_EFORMAT, "config.json: %s: every one must be below %s, %llu",
                path, limit, (unsigned long long)config_count(config, limit));
    return 0;
}

static int derive(cJSON *config, const cJSON *hf_config, lvlm_error *err)
{
    (void)hf_config;
    TRY(config_add_grid(config, err));
    const uint64_t grid = config_count(config, "vision.grid");
    const uint64_t n_taps = lvlm_json_count(lvlm_json_path(config, "vision.taps"));
    const uint64_t n_aspects =
        lvlm_json_count(lvlm_json_path(config, "vision.aspects"));
    uint64_t rows, out, embed_rows;
    TRY(config_product(&rows, grid, grid, 1, "vision_config: image_size / patch_size",
                       err));
    TRY(config_set(config, "vision.rows", rows, err));
    TRY(config_set(config, "vision.aspect_ids", n_aspects + 1, err));
    TRY(config_add_quotient(config, "vision.head_dim", "vision.hidden", "vision.heads",
                            err));
    TRY(check_list(config, "vision.taps", "vision.layers", err));
    TRY(config_product(&out, config_count(config, "vision.hidden"), n_taps + 1, 0,
                       "vision_config: hidden_size of all intermediate layers", err));
    FAIL_IF(config_count(config, "vision.out") != out, err, LVLM_EFORMAT,
            "config.json: vision_output_dim %llu is not hidden_size x (1 + %llu "
            "intermediate layers)",
            (unsigned long long)config_count(config, "vision.out"),
            (unsigned long long)n_taps);
    TRY(config_add_quotient(config, "text.head_dim", "text.hidden", "text.heads", err));
    TRY(check_list(config, "text.cross_layers", "text.layers", err));
    TRY(config_product(&embed_rows, config_count(config, "text.embed_rows"), 1, 8,
                       "vocab_size", err));
    TRY(config_set(config, "text.embed_rows", embed_rows, err));
    return decoder_derive(config, err);
}

/* ---- projections ---------------------------------------------------------------- */

#define BLIND "the layer cannot look at the image; the others still do"

static const lvlm_projection projections[] = {
    { "vision_to_text", "connector.proj", "linear",
      "z[r] = W [g(r), s(r)] + b for every patch and class row r of every tile; g = "
      "last global block, s = the earlier states interleaved: feature d of state k at "
      "column hidden + d * states + k",
      "the one projection from vision width to text width, shared by all "
      "cross-attention layers; its input is the last state and five earlier ones, "
      "concatenated",
      "the language model gets no image: no cross-attention layer has keys or values" },
    { "image_keys", "text.blocks.{i}.cross.k", "linear",
      "k[r] = k_norm(W z[r]) per head; z = connector.out",
      "keys of one cross-attention layer, computed from the projected image; every "
      "such layer has its own map",
      BLIND },
    { "image_values", "text.blocks.{i}.cross.v", "linear",
      "v[r] = W z[r]; z = connector.out",
      "values of one cross-attention layer, computed from the projected image; no norm",
      BLIND },
    { "image_to_stream", "text.blocks.{i}.cross.out", "linear",
      "x[t] += tanh(attn_gate) W a[t]; a = attention output of row t",
      "the output to the text's residual stream; a gate of 0 closes it", BLIND },
    { "text_head", "text.head", "linear", "logits[t] = W h[t]; h = text.norm",
      "the output layer of the language model, never tied: the embedding has rows for "
      "<|image|> and others that the head lacks",
      "the model has no output" },
    { NULL },
};

/* ---- where transformers differs ------------------------------------------------- */

static const lvlm_difference differences[] = {
    { LVLM_TAPS_LAST, "4.55", "4.56", "vision.out",
      "all intermediate vision states are the last local one; the model was trained "
      "with the states entering the listed blocks" },
    { LVLM_TAPS_LEAVING, "4.56", NULL, "vision.out",
      "intermediate vision states are those leaving the listed blocks, one block late; "
      "the model was trained with the states entering them" },
    { LVLM_UNSEEING_ROWS_ATTEND, NULL, NULL, "text.blocks.3",
      "text rows to which no image is visible attend to every tile without a mask; the "
      "model was trained to pass such rows through cross-attention layers unchanged" },
    { LVLM_AS_TRAINED },
};

/* ---- stages of training --------------------------------------------------------- */

static const lvlm_stage_rule stage_rules[] = {
    { "1", "text.blocks.*", "text.cross_layers", true,
      "the cross-attention layers are part of the adapter: they were trained while the "
      "language model was frozen" },
    { NULL },
};

/* ---- dropout --------------------------------------------------------------------- */

static const lvlm_dropout_row dropouts[] = {
    { LVLM_DROPOUT_TEXT_ATTENTION, "text_config.dropout" },
    { LVLM_NO_DROPOUT },
};

const lvlm_family lvlm_family_mllama = {
    .name = "mllama",
    .title = "Llama 3.2-Vision",
    .model_type = "mllama",
    .settings = settings,
    .derive = derive,
    .row_counts = row_counts,
    .roots = roots,
    .unused = rotary_buffer,
    .projections = projections,
    .differences = differences,
    .dropouts = dropouts,
    .stage_rules = stage_rules,
    .processor = "tiles",
    .prompts = "llama3",
    .labels = "segments",
    .max_positions = 131072,
};
