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

/* Any number of maps from the second on. */
static const lvlm_row further_map[] = {
    { "weight", "weight", "text.hidden, connector.hidden", .connector = true },
    { NULL },
};

static const lvlm_row further_bias[] = {
    { "bias", "bias", "text.hidden", .connector = true },
    { NULL },
};

static const lvlm_row first_map[] = {
    { "fc1.weight", "linear_1.weight", "connector.hidden, vision.out", .connector = true },
    { NULL },
};

static const lvlm_row first_bias[] = {
    { "fc1.bias", "linear_1.bias", "connector.hidden", .connector = true },
    { NULL },
};

#define DEEP(first_, further_)                                                             \
    {                                                                                      \
        { "connector.",       "",            NULL,                first_ },                 \
        { "connector.fc{i}.", "linear_{i}.", "connector.further", further_, .first = 2 },  \
        { NULL },                                                                          \
    }

const lvlm_section deep_mlp_sections[] = DEEP(first_map, further_map);
const lvlm_section deep_mlp_bias_sections[] = DEEP(first_bias, further_bias);

/* A norm that --init-missing may create. */
#define CONNECTOR_NORM(native, source, width)                                              \
    { native ".weight", source ".weight", width, .connector = true, .made = "ones" },       \
    { native ".bias",   source ".bias",   width, .connector = true }

static const lvlm_row merger[] = {
    CONNECTOR_NORM("norm", "norm", "vision.hidden"),
    MERGER_LINEARS("linear_1.", "linear_2."),
    { NULL },
};

const lvlm_section merger_sections[] = { { "connector.", "", NULL, merger }, { NULL } };

#define WIDTH "connector.hidden"
#define TABLE "connector.queries, " WIDTH

static const lvlm_row resampler[] = {
    { "kv.weight",        "kv_proj.weight", WIDTH ", vision.hidden",
      .connector = true, .identity_if_square = true },
    { "queries",          "query",          TABLE,                 .connector = true },
    { "positions.weight", "pos_embed",      TABLE,                 .connector = true, .made = "sines" },
    CONNECTOR_NORM("norm_q",  "ln_q",  WIDTH),
    CONNECTOR_NORM("norm_kv", "ln_kv", WIDTH),
    CONNECTOR_LINEAR("attn.q",   "q_proj.",   WIDTH, WIDTH),
    CONNECTOR_LINEAR("attn.k",   "k_proj.",   WIDTH, WIDTH),
    CONNECTOR_LINEAR("attn.v",   "v_proj.",   WIDTH, WIDTH),
    CONNECTOR_LINEAR("attn.out", "out_proj.", WIDTH, WIDTH),
    CONNECTOR_NORM("norm_out", "ln_post", WIDTH),
    { "proj.weight",      "proj.weight",    "text.hidden, " WIDTH, .connector = true },
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

/* Of the others transformers knows nothing: only composed models have them, and
 * "lvlm_connector" in their config.json. */
const lvlm_setting deep_mlp_settings[] = {
    { "connector.activation", WORD,  "projector_hidden_act",      "\"gelu\"", NULL, activations },
    { "connector.biases",     BOOL,  "multimodal_projector_bias", "true" },
    { "connector.layers",     COUNT, "lvlm_connector.layers",     "3" },
    { NULL },
};

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
