/* parts.h - towers, connectors and language models that several families have or
 * composed models can: their rows under transformers' names, their settings, and what
 * follows from those.
 *
 * A family's page assembles them: sections below a root, settings in a list of tables.
 * What a page says later of a setting counts, so that parts say what is usual. */
#ifndef LVLM_FORMATS_FAMILY_PARTS_H
#define LVLM_FORMATS_FAMILY_PARTS_H

#include "formats/family/family.h"

LVLM_BEGIN_DECLS

/* ---- vision_parts.c -------------------------------------------------------------- */

/* SigLIP: patches with a bias, learned positions, blocks with norms before each branch;
 * the norm after the last one. Class defaults of SiglipVisionConfig; without the
 * section, the So400m. */
extern const lvlm_section siglip_sections[];
extern const lvlm_section siglip_end[];
extern const lvlm_setting siglip_settings[];

/* CLIP: patches without a bias, a class row with a position of its own, a norm before
 * the first block. Class defaults of CLIPVisionConfig; without the section, ViT-L/14 at
 * 336 pixels. */
extern const lvlm_section clip_sections[];
extern const lvlm_setting clip_settings[];

/* Most linear maps of a connector. */
enum { CONNECTOR_MAX_LAYERS = 8 };

/* ---- connector_parts.c ----------------------------------------------------------- */

/* Two linear maps; any number of them, connector.further after the first; a
 * norm and two maps of squares of patches; queries that attend to all patches. The last
 * two have one state of the tower as features. */
extern const lvlm_section mlp_sections[];
extern const lvlm_section mlp_bias_sections[];
extern const lvlm_section deep_mlp_sections[];
extern const lvlm_section deep_mlp_bias_sections[];
extern const lvlm_section merger_sections[];
extern const lvlm_section resampler_sections[];
extern const lvlm_setting mlp_settings[];
extern const lvlm_setting deep_mlp_settings[];
extern const lvlm_setting merger_settings[];
extern const lvlm_setting resampler_settings[];

/* ---- text_parts.c ---------------------------------------------------------------- */

/* Rows of one block of Llama, and what every decoder ends with. */
extern const lvlm_row llama_block[];
extern const lvlm_row text_end[];

/* Table of word vectors, blocks, norm. Qwen2's blocks are Llama's with biases of q, k
 * and v; Gemma 2 has a norm after each branch too. */
extern const lvlm_section llama_sections[];
extern const lvlm_section qwen2_sections[];
extern const lvlm_section gemma_sections[];
extern const lvlm_section gemma2_sections[];

/* The output layer, and one that is the table of word vectors when absent. */
extern const lvlm_section head_sections[];
extern const lvlm_section tied_head_sections[];

/* Class defaults of LlamaConfig and Qwen2Config. text.head_dim may be null: it is
 * text.hidden / text.heads. */
extern const lvlm_setting llama_settings[];
extern const lvlm_setting qwen2_settings[];

/* Class defaults of GemmaConfig and Gemma2Config; without the section, Gemma 2B. */
extern const lvlm_setting gemma_settings[];
extern const lvlm_setting gemma2_settings[];

/* What follows from the settings of any of these decoders, and which of their values
 * are not computed. */
LVLM_MUST_CHECK int decoder_derive(cJSON *config, lvlm_error *err);

/* The rows of the table of word vectors decide text.vocab. */
extern const lvlm_row_count vocab_of_embed[];

LVLM_END_DECLS

#endif
