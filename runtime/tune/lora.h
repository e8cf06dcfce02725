/* lora.h - parses --lora, and makes the adapter that training begins with.
 *
 *   r=8,alpha=16,dropout=0.05,targets=q,v,save=wte,lm_head,rslora=true
 *
 * A target is, in this order,
 *
 *   all-linear   every linear map except the output layer
 *   q_proj, mlp.fc1
 *                the end of a module's name in Hugging Face's model, as PEFT matches
 *                target_modules; also in the tower, if it has such a module
 *   q k v o gate up down
 *                those maps of the language model's blocks, cross-attention included
 *   vision.blocks.0.attn.q, attn.q
 *                the end of a native name
 *
 * and adapts whole modules: if q, k and v are one matrix in Hugging Face's model, all
 * three must be named.
 *
 * What `save` names is trained whole and saved with the adapter, as modules_to_save of
 * PEFT: modules whose names in Hugging Face's model end with a word. They are not
 * adapted, whatever the targets are. */
#ifndef LVLM_RUNTIME_TUNE_LORA_H
#define LVLM_RUNTIME_TUNE_LORA_H

#include "formats/adapter/adapter.h"

LVLM_BEGIN_DECLS

enum { LVLM_LORA_TARGETS = 64, LVLM_LORA_TEXT = 4096 };

/* Zero-initialised: take the settings of the adapter that is continued. */
typedef struct lvlm_lora {
    lvlm_adapter_config config;
    const char *targets[LVLM_LORA_TARGETS]; /* into `text` */
    size_t n_targets;
    const char *saved[LVLM_LORA_TARGETS]; /* the same */
    size_t n_saved;
    bool shaped;  /* r, alpha, rslora, targets or save were named */
    bool dropout; /* dropout was named */
    char text[LVLM_LORA_TEXT];
} lvlm_lora;

/* The defaults are those of PEFT: r 8, alpha 8, no dropout, targets q and v.
 * LVLM_EUSAGE names the key. Do not copy *out: it points into itself. */
LVLM_MUST_CHECK int lvlm_lora_parse(lvlm_lora *out, const char *text, lvlm_error *err);

/* An adapter that continues the one in the PEFT directory `dir` or, if that is NULL,
 * one with pairs for the targets, without values. Free with lvlm_adapter_free, also
 * after a failure. LVLM_EUSAGE names the word that fits nothing, or more than can be
 * adapted. */
LVLM_MUST_CHECK int lvlm_lora_open(lvlm_adapter *out, const lvlm_lora *lora,
                                   const char *dir, const lvlm_manifest *manifest,
                                   lvlm_error *err);

/* First values of A, as PEFT draws them: uniform in +-1/sqrt(in), from the seed and the
 * module's name, rounded to float32 in either type. B begins with zeros.
 * a (r, in), F32 or F64 */
void lvlm_lora_draw(lvlm_dtype dtype, void *a, const lvlm_adapted *adapted,
                    uint64_t seed);

LVLM_END_DECLS

#endif
