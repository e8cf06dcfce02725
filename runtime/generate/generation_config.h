/* generation_config.h - reads a model's generation_config.json. */
#ifndef LVLM_RUNTIME_GENERATE_GENERATION_CONFIG_H
#define LVLM_RUNTIME_GENERATE_GENERATION_CONFIG_H

#include "formats/checkpoint/manifest.h"
#include "runtime/generate/sampler.h"

LVLM_BEGIN_DECLS

enum {
    LVLM_MAX_ENDS = 32,
    LVLM_DEFAULT_NEW_TOKENS = 512,
};

typedef struct lvlm_generation {
    lvlm_sampling sampling;
    uint64_t max_new_tokens;
    uint64_t lookup; /* tokens that a step proposes at most (generate.h); 0: none */
    int64_t ends[LVLM_MAX_ENDS]; /* tokens that end a text */
    size_t n_ends;
    /* only ends[0] can follow the tokens that open and close a turn: Qwen-VL's chat */
    bool chatml;
} lvlm_generation;

/* Read the model's side files, with the reference's defaults:
 *
 *   generation_config.json  top_k (50), top_p (1), repetition_penalty (1),
 *                           eos_token_id (a number or a list), chat_format,
 *                           max_new_tokens (512; the reference's 20 end no answer)
 *   config.json             eos_token_id, also of its text_config, if that has none
 *
 * Always greedy, whatever do_sample and temperature say: the caller requests sampling.
 * Other settings that would change the result are noted in the checkpoint's notes.
 * LVLM_EFORMAT names the file and the setting. */
LVLM_MUST_CHECK int lvlm_generation_read(lvlm_generation *out,
                                         const lvlm_manifest *manifest,
                                         lvlm_error *err);

/* Only one token can follow `previous`, whatever the logits say: an end after one that
 * opens or closes a turn of chatml. */
bool lvlm_generation_forces(int64_t *id, const lvlm_generation *settings,
                            int64_t previous);

LVLM_END_DECLS

#endif
