/* page.h - shorthand for the pages of this folder, and what several derive alike.
 *
 * Included by family pages only. */
#ifndef LVLM_FORMATS_FAMILY_PAGE_H
#define LVLM_FORMATS_FAMILY_PAGE_H

#include "formats/family.h"

LVLM_BEGIN_DECLS

#define DIM(symbol) LVLM_DIM_##symbol

// clang-format off

/* The decoder block that most language models share under the same names. */
#define ATTENTION_ROWS                                                              \
    { "attn.q.weight",   "self_attn.q_proj.weight", { DIM(Q_DIM), DIM(HIDDEN) } },  \
    { "attn.k.weight",   "self_attn.k_proj.weight", { DIM(KV_DIM), DIM(HIDDEN) } }, \
    { "attn.v.weight",   "self_attn.v_proj.weight", { DIM(KV_DIM), DIM(HIDDEN) } }, \
    { "attn.out.weight", "self_attn.o_proj.weight", { DIM(HIDDEN), DIM(Q_DIM) } }

#define MLP_ROWS                                                                    \
    { "mlp.gate.weight", "mlp.gate_proj.weight",    { DIM(MLP), DIM(HIDDEN) } },    \
    { "mlp.up.weight",   "mlp.up_proj.weight",      { DIM(MLP), DIM(HIDDEN) } },    \
    { "mlp.down.weight", "mlp.down_proj.weight",    { DIM(HIDDEN), DIM(MLP) } }

/* One of three equal parts, stacked in memory, of a matrix (rows, columns). */
#define THIRD(i, rows, columns) { { DIM(THREE), DIM(rows), DIM(columns) }, 1, (i), { 1, 2 } }
#define THIRD_OF_VECTOR(i, rows) { { DIM(THREE), DIM(rows) }, 1, (i), { 1 } }

#define COUNT       LVLM_SETTING_COUNT
#define MAYBE_COUNT LVLM_SETTING_MAYBE_COUNT
#define INDEX       LVLM_SETTING_INDEX
#define MAYBE_INDEX LVLM_SETTING_MAYBE_INDEX
#define NUMBER      LVLM_SETTING_NUMBER
#define MAYBE       LVLM_SETTING_MAYBE_NUMBER
#define BOOL        LVLM_SETTING_BOOL
#define WORD        LVLM_SETTING_WORD
#define LIST        LVLM_SETTING_LIST
#define CONSTANT    LVLM_SETTING_CONSTANT
/* Before 5.0 a head was made the table's before its values were read or thrown away; from
 * 5.0 on one with other values stays. */
#define STORED_HEAD_IGNORED                                                                \
    { "stored_head_ignored", NULL, "5.0", "logits",                                        \
      "a head that is stored beside tie_word_embeddings true is ignored and the embedding " \
      "table used in its place; the model was trained with its head" }
// clang-format on

/* Names of activations as transformers has them, and what they are here. */
extern const lvlm_word lvlm_page_activations[];

/* A canonical setting that is a whole number; 0 when it is not there. */
uint64_t lvlm_page_count(const cJSON *config, const char *path);
/* Add one at "section.name", or put it in the place of what is there. LVLM_EFORMAT over
 * 2^53, which JSON's readers round. */
LVLM_MUST_CHECK int lvlm_page_add_number(cJSON *config, const char *path,
                                         uint64_t value, lvlm_error *err);
/* a * b + c of settings, or LVLM_EFORMAT: `what` of it is too large. */
LVLM_MUST_CHECK int lvlm_page_product(uint64_t *out, uint64_t a, uint64_t b, uint64_t c,
                                      const char *what, lvlm_error *err);
/* vision.mlp = vision.hidden * vision.mlp_ratio, rounded down as the reference does. */
LVLM_MUST_CHECK int lvlm_page_add_vision_mlp(cJSON *config, lvlm_error *err);
/* vision.grid = vision.image / vision.patch. */
LVLM_MUST_CHECK int lvlm_page_add_grid(cJSON *config, lvlm_error *err);
/* `part` = `whole` / `n`, which must come out even: the width of one head. */
LVLM_MUST_CHECK int lvlm_page_add_quotient(cJSON *config, const char *part,
                                           const char *whole, const char *n,
                                           lvlm_error *err);

/* LVLM_EFORMAT names both settings and their values unless it holds. */
LVLM_MUST_CHECK int lvlm_page_check_multiple(const cJSON *config, const char *whole,
                                             const char *part, lvlm_error *err);
LVLM_MUST_CHECK int lvlm_page_check_equal(const cJSON *config, const char *a,
                                          const char *b, lvlm_error *err);
LVLM_MUST_CHECK int lvlm_page_check_even(const cJSON *config, const char *path,
                                         lvlm_error *err);

/* model_type of a config.json, or "". */
const char *lvlm_page_model_type(const cJSON *hf_config);

LVLM_END_DECLS

#endif
