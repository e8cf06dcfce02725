/* prompt_affix.h - private to prompts: tokens that a tokenizer puts around any text.
 *
 *   tokenizer_config.json  add_bos_token, add_eos_token decide where one is there
 *   tokenizer.json         else its post_processor, a template for one text */
#ifndef LVLM_RUNTIME_INPUT_PROMPT_AFFIX_H
#define LVLM_RUNTIME_INPUT_PROMPT_AFFIX_H

#include "runtime/input/tokenizer.h"

LVLM_BEGIN_DECLS

enum { PROMPT_MAX_AFFIX = 8 };

typedef struct prompt_affix {
    int64_t front[PROMPT_MAX_AFFIX], back[PROMPT_MAX_AFFIX];
    size_t n_front, n_back;
} prompt_affix;

/* LVLM_EFORMAT: a switch that is not true or false or whose token is not there; another
 * post_processor than templates and ByteLevel; a template that names no token of the
 * tokenizer, or over PROMPT_MAX_AFFIX, or anything but tokens around one text. */
LVLM_MUST_CHECK int prompt_affix_read(prompt_affix *out, const lvlm_checkpoint *cp,
                                      const lvlm_tokenizer *tokenizer, lvlm_error *err);

LVLM_END_DECLS

#endif
