/* page.h - shorthand for the pages of this folder, and settings that several derive.
 *
 * Included only by family pages. */
#ifndef LVLM_FORMATS_FAMILY_PAGE_H
#define LVLM_FORMATS_FAMILY_PAGE_H

#include "formats/family/family.h"

LVLM_BEGIN_DECLS

// clang-format off

/* Names of models that transformers builds of a tower, a projector and a language model:
 * the hub's; 4.52 to 5.5 in memory (raw state dicts of FSDP and DeepSpeed,
 * save_pretrained of 4.52.0 to 4.52.3); 5.6 on, without vision_model; the mixtures that
 * 5.4 and 5.5 wrote. */
#define VISION_TOWER_ROOT                                                           \
    "vision.", { "vision_tower.vision_model.", "vision_tower.",                     \
                 "model.vision_tower.vision_model.", "model.vision_tower." },       \
    .current = 1, .modules = 3
#define PROJECTOR_ROOT                                                              \
    "connector.", { "multi_modal_projector.", "model.multi_modal_projector." },     \
    .modules = 1
#define LANGUAGE_MODEL_ROOT                                                         \
    "text.", { "language_model.model.", "language_model.",                          \
               "model.language_model.model.", "model.language_model." },            \
    .modules = 3
#define LANGUAGE_HEAD_ROOT                                                          \
    "text.head.", { "language_model.lm_head.", "lm_head.", "model.lm_head.",        \
                    "model.language_model.lm_head." },                              \
    .modules = 1

/* One matrix takes all values of a patch. */
#define PATCHES(source)                                                             \
    { "patch.weight", source, "vision.hidden, vision.channels*vision.patch*vision.patch", \
      .source_shape = "vision.hidden, vision.channels, vision.patch, vision.patch" }

/* A linear map with a bias, and a norm with one: two rows each. */
#define LINEAR(native, source, out, in)                                             \
    { native ".weight", source ".weight", out ", " in },                            \
    { native ".bias",   source ".bias",   out }
#define NORM(native, source, width)                                                 \
    { native ".weight", source ".weight", width },                                  \
    { native ".bias",   source ".bias",   width }

/* A linear map of the connector. */
#define CONNECTOR_LINEAR(native, source, out, in)                                   \
    { native ".weight", source "weight", out ", " in, .connector = true },          \
    { native ".bias",   source "bias",   out,         .connector = true }

/* Those of a merger, which takes squares of patches. */
#define MERGED "vision.merge*vision.merge*vision.hidden"
#define MERGER_LINEARS(fc1, fc2)                                                    \
    CONNECTOR_LINEAR("fc1", fc1, MERGED, MERGED),                                   \
    CONNECTOR_LINEAR("fc2", fc2, "text.hidden", MERGED)

/* A linear map whose matrix (rows, columns) and bias are one of three equal parts,
 * stacked in memory. */
#define THIRD(native, source, i, rows, columns, connector_)                         \
    { native ".weight", source "weight", rows ", " columns, "3*" rows ", " columns, \
      { "3, " rows ", " columns, 1, (i), { 1, 2 } }, .connector = (connector_) },   \
    { native ".bias",   source "bias",   rows,              "3*" rows,              \
      { "3, " rows,              1, (i), { 1 } },    .connector = (connector_) }

/* A tower's MLP without a gate. */
#define PLAIN_MLP(fc1, fc2)                                                         \
    LINEAR("mlp.fc1", fc1, "vision.mlp", "vision.hidden"),                          \
    LINEAR("mlp.fc2", fc2, "vision.hidden", "vision.mlp")

/* The decoder block that most language models share under the same names. */
#define ATTENTION_ROWS                                                              \
    { "attn.q.weight",   "self_attn.q_proj.weight", "text.heads*text.head_dim, text.hidden" },  \
    { "attn.k.weight",   "self_attn.k_proj.weight", "text.kv_heads*text.head_dim, text.hidden" }, \
    { "attn.v.weight",   "self_attn.v_proj.weight", "text.kv_heads*text.head_dim, text.hidden" }, \
    { "attn.out.weight", "self_attn.o_proj.weight", "text.hidden, text.heads*text.head_dim" }

#define MLP_ROWS                                                                    \
    { "mlp.gate.weight", "mlp.gate_proj.weight",    "text.mlp, text.hidden" },    \
    { "mlp.up.weight",   "mlp.up_proj.weight",      "text.mlp, text.hidden" },    \
    { "mlp.down.weight", "mlp.down_proj.weight",    "text.hidden, text.mlp" }

/* Frequencies as Llama has them, with this theta when config.json has none. */
#define ROPE_OF(key) "text_config.rope_parameters." key "|text_config.rope_scaling." key
#define LLAMA_ROPE(theta)                                                                  \
    { "text.rope_theta",    NUMBER, ROPE_OF("rope_theta") "|text_config.rope_theta", theta },  \
    { "text.rope_type",     WORD,   ROPE_OF("rope_type") "|text_config.rope_scaling.type",     \
      "\"default\"", NULL, llama_rope_words },                                             \
    { "text.rope_factor",   MAYBE,  ROPE_OF("factor"),                           "null" }, \
    { "text.rope_low",      MAYBE,  ROPE_OF("low_freq_factor"),                  "null" }, \
    { "text.rope_high",     MAYBE,  ROPE_OF("high_freq_factor"),                 "null" }, \
    { "text.rope_original", MAYBE,  ROPE_OF("original_max_position_embeddings"), "null" }

/* A decoder without norms after its branches, with a causal mask. */
#define PLAIN_DECODER(splice)                                                       \
    { "text.sandwich_norms", CONSTANT, NULL, "false" },                             \
    { "text.embed_scale",    CONSTANT, NULL, "\"one\"" },                           \
    { "text.mask",           CONSTANT, NULL, "\"causal\"" },                        \
    { "text.first_position", CONSTANT, NULL, "0" },                                 \
    { "text.splice",         CONSTANT, NULL, "\"" splice "\"" }

#define COUNT       LVLM_SETTING_COUNT
#define MAYBE_COUNT LVLM_SETTING_MAYBE_COUNT
#define INDEX       LVLM_SETTING_INDEX
#define MAYBE_INDEX LVLM_SETTING_MAYBE_INDEX
#define NUMBER      LVLM_SETTING_NUMBER
#define MAYBE       LVLM_SETTING_MAYBE_NUMBER
#define BOOL        LVLM_SETTING_BOOL
#define WORD        LVLM_SETTING_WORD
#define WORDS       LVLM_SETTING_WORDS
#define SIGNED      LVLM_SETTING_SIGNED
#define LIST        LVLM_SETTING_LIST
#define CONSTANT    LVLM_SETTING_CONSTANT

/* Buffers that exports of old versions hold. */
#define ROTARY_BUFFER                                                                      \
    { "rotary_buffer", "*.inv_freq",                                                       \
      "a buffer of old exports: rotary frequencies follow from the configuration" }

/* Before 5.0 a head was tied before its values were loaded; since 5.0 a head with other
 * values is kept. */
#define STORED_HEAD_IGNORED                                                                \
    { LVLM_STORED_HEAD_IGNORED, NULL, "5.0", "logits",                                        \
      "a stored head is ignored if tie_word_embeddings is true, and the embedding used " \
      "instead; the model was trained with its head" }
// clang-format on

/* The rule of ROTARY_BUFFER and no others. */
extern const lvlm_unused_rule rotary_buffer[];

/* transformers' names of activations and of rotary frequencies, and ours. */
extern const lvlm_word activation_words[];
extern const lvlm_word llama_rope_words[];

/* A canonical setting that is a whole number; 0 if it is absent. */
uint64_t config_count(const cJSON *config, const char *path);
/* Add a number at "section.name", or replace it. LVLM_EFORMAT if it is over 2^53, which
 * JSON readers round. */
LVLM_MUST_CHECK int config_set(cJSON *config, const char *path, uint64_t value,
                               lvlm_error *err);
/* a * b + c of settings, or LVLM_EFORMAT: `what` of it is too large. */
LVLM_MUST_CHECK int config_product(uint64_t *out, uint64_t a, uint64_t b, uint64_t c,
                                   const char *what, lvlm_error *err);
/* vision.mlp = vision.hidden * vision.mlp_ratio, rounded down as the reference does. */
LVLM_MUST_CHECK int config_add_vision_mlp(cJSON *config, lvlm_error *err);
/* vision.grid = vision.image / vision.patch. */
LVLM_MUST_CHECK int config_add_grid(cJSON *config, lvlm_error *err);
/* `part` = `whole` / `n`, which must divide evenly: the width of one head. */
LVLM_MUST_CHECK int config_add_quotient(cJSON *config, const char *part,
                                        const char *whole, const char *n,
                                        lvlm_error *err);

/* LVLM_EFORMAT names both settings and their values if the check fails. */
LVLM_MUST_CHECK int config_check_multiple(const cJSON *config, const char *whole,
                                          const char *part, lvlm_error *err);
LVLM_MUST_CHECK int config_check_equal(const cJSON *config, const char *a,
                                       const char *b, lvlm_error *err);

LVLM_END_DECLS

#endif
