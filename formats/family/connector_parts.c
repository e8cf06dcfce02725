/* connector_parts.c - connectors of composed models; see parts.h. */
#include "formats/family/page.h"
#include "formats/family/parts.h"

// clang-format off
static const lvlm_row maps[] = {
    { "fc1.weight", "linear_1.weight", "connector.hidden, vision.out",  .connector = true },
    { "fc2.weight", "linear_2.weight", "text.hidden, connector.hidden", .connector = true },
    { NULL },
};

static const lvlm_row biases[] = {
    { "fc1.bias", "linear_1.bias", "connector.hidden", .connector = true },
    { "fc2.bias", "linear_2.bias", "text.hidden",      .connector = true },
    { NULL },
};

const lvlm_section mlp_sections[] = { { "connector.", "", NULL, maps }, { NULL } };
const lvlm_section mlp_bias_sections[] = { { "connector.", "", NULL, biases }, { NULL } };

#define MERGED "vision.merge*vision.merge*vision.hidden"

static const lvlm_row merger[] = {
    { "norm.weight", "norm.weight",     "vision.hidden",         .connector = true, .made = "ones" },
    { "norm.bias",   "norm.bias",       "vision.hidden",         .connector = true },
    { "fc1.weight",  "linear_1.weight", MERGED ", " MERGED,      .connector = true },
    { "fc1.bias",    "linear_1.bias",   MERGED,                  .connector = true },
    { "fc2.weight",  "linear_2.weight", "text.hidden, " MERGED,  .connector = true },
    { "fc2.bias",    "linear_2.bias",   "text.hidden",           .connector = true },
    { NULL },
};

const lvlm_section merger_sections[] = { { "connector.", "", NULL, merger }, { NULL } };

#define SQUARE "connector.hidden, connector.hidden"
#define TABLE  "connector.queries, connector.hidden"

static const lvlm_row resampler[] = {
    { "kv.weight",        "kv_proj.weight",  "connector.hidden, vision.hidden",
      .connector = true, .identity_if_square = true },
    { "queries",          "query",           TABLE,              .connector = true },
    { "positions.weight", "pos_embed",       TABLE,              .connector = true, .made = "sines" },
    { "norm_q.weight",    "ln_q.weight",     "connector.hidden", .connector = true, .made = "ones" },
    { "norm_q.bias",      "ln_q.bias",       "connector.hidden", .connector = true },
    { "norm_kv.weight",   "ln_kv.weight",    "connector.hidden", .connector = true, .made = "ones" },
    { "norm_kv.bias",     "ln_kv.bias",      "connector.hidden", .connector = true },
    { "attn.q.weight",    "q_proj.weight",   SQUARE,             .connector = true },
    { "attn.q.bias",      "q_proj.bias",     "connector.hidden", .connector = true },
    { "attn.k.weight",    "k_proj.weight",   SQUARE,             .connector = true },
    { "attn.k.bias",      "k_proj.bias",     "connector.hidden", .connector = true },
    { "attn.v.weight",    "v_proj.weight",   SQUARE,             .connector = true },
    { "attn.v.bias",      "v_proj.bias",     "connector.hidden", .connector = true },
    { "attn.out.weight",  "out_proj.weight", SQUARE,             .connector = true },
    { "attn.out.bias",    "out_proj.bias",   "connector.hidden", .connector = true },
    { "norm_out.weight",  "ln_post.weight",  "connector.hidden", .connector = true, .made = "ones" },
    { "norm_out.bias",    "ln_post.bias",    "connector.hidden", .connector = true },
    { "proj.weight",      "proj.weight",     "text.hidden, connector.hidden", .connector = true },
    { NULL },
};

const lvlm_section resampler_sections[] = { { "connector.", "", NULL, resampler }, { NULL } };

static const lvlm_word activations[] = {
    { "gelu", "gelu" },
    { "gelu_python", "gelu" },
    { "gelu_pytorch_tanh", "gelu_tanh" },
    { "quick_gelu", "quick_gelu" },
    { "silu", "silu" },
    { "swish", "silu" },
    { "relu", "relu" },
    { "linear", "identity" },
    { NULL },
};

const lvlm_setting mlp_settings[] = {
    { "connector.activation", WORD, "projector_hidden_act",      "\"gelu\"", NULL, activations },
    { "connector.bias",       BOOL, "multimodal_projector_bias", "true" },
    { NULL },
};

/* Of these two transformers knows nothing: only composed models have them, and
 * "lvlm_connector" in their config.json. */
const lvlm_setting merger_settings[] = {
    { "connector.activation", WORD,  "projector_hidden_act", "\"gelu\"", NULL, activations },
    { "vision.merge",         COUNT, "lvlm_connector.merge", "2" },
    { NULL },
};

const lvlm_setting resampler_settings[] = {
    { "connector.queries",  COUNT,    "lvlm_connector.queries", "64" },
    { "connector.heads",    COUNT,    "lvlm_connector.heads",   "8" },
    { "connector.norm_eps", CONSTANT, NULL,                     "1e-6" },
    { NULL },
};
// clang-format on
