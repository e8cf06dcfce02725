/* generation_config.h - how a model wants its texts to go on: the file of that name. */
#ifndef LVLM_RUNTIME_GENERATE_GENERATION_CONFIG_H
#define LVLM_RUNTIME_GENERATE_GENERATION_CONFIG_H

#include "formats/manifest.h"
#include "runtime/generate/sampler.h"

LVLM_BEGIN_DECLS

enum {
    LVLM_MAX_ENDS = 32,
    LVLM_DEFAULT_NEW_TOKENS = 512,
};

typedef struct lvlm_generation {
    lvlm_sampling sampling;
    uint64_t max_new_tokens;
    int64_t ends[LVLM_MAX_ENDS]; /* tokens that end a text */
    size_t n_ends;
    bool chatml; /* behind the tokens that open and close a turn only ends[0] can come:
                    Qwen-VL's chat */
} lvlm_generation;

/* From the model's side files, or the reference's defaults:
 *
 *   generation_config.json  top_k (50), top_p (1), repetition_penalty (1),
 *                           eos_token_id (a number or a list), chat_format,
 *                           max_new_tokens (512; the reference's 20 end no answer)
 *   config.json             eos_token_id, also of its text_config, when it has none
 *
 * Greedy, whatever do_sample and temperature say: sampling is for the caller to ask
 * for. Other settings that would change what comes out are noted, in the checkpoint's
 * notes. LVLM_EFORMAT names the file and the setting. */
LVLM_MUST_CHECK int lvlm_generation_read(lvlm_generation *out,
                                         const lvlm_manifest *manifest,
                                         lvlm_error *err);

LVLM_END_DECLS

#endif
