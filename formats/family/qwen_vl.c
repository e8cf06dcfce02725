/* qwen_vl.c - Qwen-VL and Qwen-VL-Chat of 2023: names, shapes, configuration.
 *
 *   OpenCLIP ViT-bigG -> resampler: 256 queries attend to all patches -> norm -> a raw
 *   matrix -> rows between <img> and </img> -> Qwen
 *
 * Background and traps: family/qwen_vl.md. */
#include <math.h>

#include "formats/base/json.h"
#include "formats/family/page.h"
#include "formats/family/parts.h"

/* ---- names ---------------------------------------------------------------------- */

// clang-format off
static const lvlm_row vision_stem[] = {
    PATCHES("conv1.weight"),
    { "positions.weight", "positional_embedding", "vision.grid*vision.grid, vision.hidden" },
    NORM("norm_pre", "ln_pre", "vision.hidden"),
    { NULL },
};

/* Head by head: q, k, v of head 0, then of head 1, ... */
#define IN_PROJ(native, i)                                                                   \
    { native ".weight", "attn.in_proj.weight", "vision.hidden, vision.hidden",               \
      "3*vision.hidden, vision.hidden",                                                      \
      { "vision.heads, 3, vision.head_dim, vision.hidden", 2, (i), { 0, 2, 3 } } },          \
    { native ".bias",   "attn.in_proj.bias",   "vision.hidden", "3*vision.hidden",           \
      { "vision.heads, 3, vision.head_dim", 2, (i), { 0, 2 } } }

static const lvlm_row vision_block[] = {
    NORM("norm1", "ln_1", "vision.hidden"),
    IN_PROJ("attn.q", 0),
    IN_PROJ("attn.k", 1),
    IN_PROJ("attn.v", 2),
    LINEAR("attn.out", "attn.out_proj", "vision.hidden", "vision.hidden"),
    NORM("norm2", "ln_2", "vision.hidden"),
    PLAIN_MLP("mlp.c_fc", "mlp.c_proj"),
    { NULL },
};

#define POOL(native, i) \
    THIRD(native, "attn_pool.attn.in_proj_", i, "connector.hidden", "connector.hidden", true)

static const lvlm_row resampler[] = {
    { "kv.weight",        "attn_pool.kv_proj.weight",   "connector.hidden, vision.hidden",
      .connector = true, .identity_if_square = true },
    { "queries",          "attn_pool.query",            "connector.queries, connector.hidden" },
    { "positions.weight", "attn_pool.pos_embed",        "connector.queries, connector.hidden" },
    NORM("norm_q",  "attn_pool.ln_q",  "connector.hidden"),
    NORM("norm_kv", "attn_pool.ln_kv", "connector.hidden"),
    POOL("attn.q", 0),
    POOL("attn.k", 1),
    POOL("attn.v", 2),
    { "attn.out.weight",  "attn_pool.attn.out_proj.weight", "connector.hidden, connector.hidden",
      .connector = true, .no_adapter = true },
    { "attn.out.bias",    "attn_pool.attn.out_proj.bias",   "connector.hidden", .connector = true },
    NORM("norm_out", "ln_post", "connector.hidden"),
    /* y = x P in the source: [in, out], and square, so shapes cannot show it */
    { "proj.weight",      "proj",                       "text.hidden, connector.hidden",
      "connector.hidden, text.hidden",
      { "connector.hidden, text.hidden", 0, 0, { 1, 0 } }, .connector = true },
    { NULL },
};

static const lvlm_row text_stem[] = {
    { "embed.weight", "wte.weight", "text.vocab, text.hidden", .no_adapter = true },
    { NULL },
};

/* w2 is the gate and w1 is up: the reverse of LLaMA's names. */
static const lvlm_row text_block[] = {
    { "norm1.weight",    "ln_1.weight",        "text.hidden" },
    THIRD("attn.q", "attn.c_attn.", 0, "text.heads*text.head_dim", "text.hidden", false),
    THIRD("attn.k", "attn.c_attn.", 1, "text.heads*text.head_dim", "text.hidden", false),
    THIRD("attn.v", "attn.c_attn.", 2, "text.heads*text.head_dim", "text.hidden", false),
    { "attn.out.weight", "attn.c_proj.weight", "text.hidden, text.heads*text.head_dim" },
    { "norm2.weight",    "ln_2.weight",        "text.hidden" },
    { "mlp.gate.weight", "mlp.w2.weight",      "text.mlp, text.hidden" },
    { "mlp.up.weight",   "mlp.w1.weight",      "text.mlp, text.hidden" },
    { "mlp.down.weight", "mlp.c_proj.weight",  "text.hidden, text.mlp" },
    { NULL },
};

static const lvlm_row ln_f[] = {
    { "norm.weight", "ln_f.weight", "text.hidden" },
    { NULL },
};

static const lvlm_section tower[] = {
    { "vision.",            "",                           NULL,            vision_stem },
    { "vision.blocks.{i}.", "transformer.resblocks.{i}.", "vision.layers", vision_block },
    { "connector.",         "",                           NULL,            resampler },
    { NULL },
};

static const lvlm_section decoder[] = {
    { "text.",            "",       NULL,          text_stem },
    { "text.blocks.{i}.", "h.{i}.", "text.layers", text_block },
    { "text.",            "",       NULL,          ln_f },
    { NULL },
};

/* The hub's; the base model saved by itself. The resampler is a part of the tower. */
static const lvlm_root roots[] = {
    { "vision.", { "transformer.visual.", "visual." }, .parts = { { tower } } },
    { "text.", { "transformer.", "" }, .parts = { { decoder } } },
    { "text.head.", { "lm_head." }, .parts = { { head_sections } } },
    { NULL },
};
// clang-format on

static const lvlm_unused_rule unused[] = {
    { "causal_mask", "text.h.*.attn.masked_bias",
      "a buffer of derived files: masks follow from the input" },
    { "causal_mask", "text.h.*.attn.bias",
      "a buffer of derived files: masks follow from the input" },
    { "causal_mask", "*registered_causal_mask",
      "a buffer of derived files: masks follow from the input" },
    { "rotary_buffer", "*rotary_emb.inv_freq",
      "a buffer of derived files: rotary frequencies follow from the configuration" },
    { NULL },
};

/* ---- configuration -------------------------------------------------------------- */

// clang-format off
/* Class defaults of QWenConfig, VisionTransformer and Resampler. */
static const lvlm_setting own_settings[] = {
    { "vision.tower",        CONSTANT, NULL,                     "\"openclip\"" },
    { "vision.hidden",       COUNT,    "visual.width" },
    { "vision.layers",       COUNT,    "visual.layers" },
    { "vision.heads",        COUNT,    "visual.heads" },
    { "vision.mlp_ratio",    NUMBER,   "visual.mlp_ratio" },
    { "vision.channels",     CONSTANT, NULL,                     "3" },
    { "vision.patch",        COUNT,    "visual.patch_size" },
    { "vision.image",        COUNT,    "visual.image_size" },
    { "vision.grid",         CONSTANT, NULL,                     "16" }, /* whatever image_size is */
    { "vision.norm_eps",     CONSTANT, NULL,                     "1e-6" },
    { "vision.activation",   CONSTANT, NULL,                     "\"gelu\"" },
    { "connector.kind",      CONSTANT, NULL,                     "\"resampler\"" },
    { "connector.queries",   COUNT,    "visual.n_queries",       "256" },
    { "connector.hidden",    COUNT,    "visual.output_dim",      "512" },
    { "connector.head_dim",  CONSTANT, NULL,                     "128" },
    { "connector.norm_eps",  CONSTANT, NULL,                     "1e-6" },
    { "text.hidden",         COUNT,    "hidden_size",            "4096" },
    { "text.layers",         COUNT,    "num_hidden_layers",      "32" },
    { "text.heads",          COUNT,    "num_attention_heads",    "32" },
    { "text.kv_heads",       COUNT,    "num_attention_heads",    "32" },
    { "text.head_dim",       COUNT,    "kv_channels",            "128" },
    { "text.mlp",            COUNT,    "intermediate_size",      "22016" },
    { "text.vocab",          COUNT,    "vocab_size",             "151936" },
    { "text.norm_eps",       NUMBER,   "layer_norm_epsilon",     "1e-6" },
    { "text.norm_offset",    CONSTANT, NULL,                     "0" },
    { "text.rope_theta",     NUMBER,   "rotary_emb_base",        "10000" },
    { "text.rope_share",     NUMBER,   "rotary_pct",             "1.0" },
    { "text.rope_type",      CONSTANT, NULL,                     "\"default\"" },
    { "text.train_length",   COUNT,    "seq_length" },
    { "text.dynamic_ntk",    BOOL,     "use_dynamic_ntk",        "true" },
    { "text.logn",           BOOL,     "use_logn_attn",          "true" },
    { "text.no_bias",        BOOL,     "no_bias",                "true" },
    { "text.activation",     CONSTANT, NULL,                     "\"silu\"" },
    { "text.qkv_bias",       CONSTANT, NULL,                     "true" },
    PLAIN_DECODER("between_tags"),
    { "tokens.image",        INDEX,    "visual.image_start_id",  "151857" }, /* </img> is the next id */
    { NULL },
};
// clang-format on

static const lvlm_setting_table settings[] = { { own_settings }, { NULL } };

/* The resampler's queries form a square grid. */
static int check_queries(const cJSON *config, lvlm_error *err)
{
    const uint64_t n = config_count(config, "connector.queries");
    const uint64_t side = (uint64_t)sqrt((double)n);
    FAIL_IF(side * side != n, err, LVLM_EFORMAT,
            "config.json: visual.n_queries %llu is not a square number",
            (unsigned long long)n);
    return 0;
}

static int check_text(const cJSON *config, lvlm_error *err)
{
    double share = 1;
    (void)lvlm_json_double(&share, lvlm_json_path(config, "text.rope_share"));
    FAIL_IF(share != 1, err, LVLM_EFORMAT,
            "config.json: rotary_pct is %g; no released model rotates a part of a head",
            share);
    FAIL_IF(!cJSON_IsTrue(lvlm_json_path(config, "text.no_bias")), err, LVLM_EFORMAT,
            "config.json: no_bias is false; no released model has these biases");
    uint64_t width;
    TRY(config_product(&width, config_count(config, "text.heads"),
                       config_count(config, "text.head_dim"), 0,
                       "kv_channels x num_attention_heads", err));
    FAIL_IF(width != config_count(config, "text.hidden"), err, LVLM_EFORMAT,
            "config.json: kv_channels x num_attention_heads is not hidden_size");
    return 0;
}

/* intermediate_size counts gate and up together; the tower's MLP width is truncated. */
static int derive(cJSON *config, const cJSON *hf_config, lvlm_error *err)
{
    (void)hf_config;
    TRY(config_add_vision_mlp(config, err));
    TRY(config_add_quotient(config, "vision.head_dim", "vision.hidden", "vision.heads",
                            err));
    TRY(config_add_quotient(config, "connector.heads", "connector.hidden",
                            "connector.head_dim", err));
    TRY(check_queries(config, err));
    TRY(config_check_equal(config, "connector.hidden", "text.hidden", err));
    TRY(config_set(config, "text.mlp", config_count(config, "text.mlp") / 2, err));
    TRY(check_text(config, err));
    return decoder_derive(config, err);
}

/* model_type is also "qwen" for the language model without vision and for
 * Qwen-Audio. */
static bool is_qwen_vl(const cJSON *config)
{
    return cJSON_IsObject(lvlm_json_get(config, "visual"));
}

/* ---- projections ---------------------------------------------------------------- */

#define BLIND                                                                          \
    "the language model gets no image: the rows between <img> and </img> would hold "  \
    "the embeddings of placeholders"

static const lvlm_projection projections[] = {
    { "vision_to_resampler", "connector.kv", "linear",
      "x[p] = norm_kv(W h[p]); h = vision.out",
      "from the tower's width to the resampler's, no bias; the identity where the two "
      "are equal",
      BLIND },
    { "resampler_queries", "connector.attn.q", "linear",
      "q[j] = W (norm_q(query[j]) + position[j]) + b, scaled by head_dim^-1/2",
      "the first third of the packed in_proj", BLIND },
    { "resampler_keys", "connector.attn.k", "linear",
      "k[p] = W (x[p] + position[p]) + b; positions resampled to the image's grid",
      "the second third of the packed in_proj; positions are added before the map",
      BLIND },
    { "resampler_values", "connector.attn.v", "linear", "v[p] = W x[p] + b",
      "the last third of the packed in_proj; without positions", BLIND },
    { "resampler_out", "connector.attn.out", "linear",
      "a[j] = W (attention of query j) + b; no residual",
      "after the resampler's attention", BLIND },
    { "vision_to_text", "connector.proj", "raw_parameter",
      "z[j] = W norm_out(a[j]); in the source z = norm_out(a) P with P [in, out], so W "
      "= P transposed",
      "the last map before the language model: a bare matrix called `proj`, OpenCLIP's "
      "head for aligning image and text; square, so that no shape shows a missed "
      "transpose",
      BLIND },
    { "text_head", "text.head", "linear", "logits[t] = W h[t]; h = text.norm",
      "the output layer of the language model, never tied", "the model has no output" },
    { NULL },
};

static const lvlm_difference differences[] = { { LVLM_AS_TRAINED } };

/* ---- stages of training --------------------------------------------------------- */

static const lvlm_stage_rule stage_rules[] = {
    { "1|2|connector", "connector.positions.weight", NULL, false,
      "the reference implementation keeps the resampler's table of sines fixed, except "
      "when it freezes the tower" },
    { "3", "connector.norm_out.*", NULL, false,
      "the reference implementation freezes the tower by its name, which this norm "
      "shares" },
    { "3", "connector.proj.weight", NULL, false,
      "the reference implementation freezes the tower by its name, which the last map "
      "shares" },
    { NULL },
};

/* ---- dropout --------------------------------------------------------------------- */

static const lvlm_dropout_row dropouts[] = {
    { LVLM_DROPOUT_TEXT_EMBED, "emb_dropout_prob" },
    { LVLM_DROPOUT_TEXT_ATTENTION, "attn_dropout_prob" },
    { LVLM_NO_DROPOUT },
};

const lvlm_family lvlm_family_qwen_vl = {
    .name = "qwen_vl",
    .title = "Qwen-VL",
    .model_type = "qwen",
    .recognises = is_qwen_vl,
    .settings = settings,
    .derive = derive,
    .row_counts = vocab_of_embed,
    .roots = roots,
    .unused = unused,
    .projections = projections,
    .differences = differences,
    .dropouts = dropouts,
    .stage_rules = stage_rules,
    .blind_gradients = true,
    .processor = "openclip",
    .prompts = "qwen",
    .labels = "turns",
    .max_positions = 8192,
};
