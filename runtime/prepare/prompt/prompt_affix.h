/* prompt_affix.h - private to prompts: tokens that a tokenizer adds around any text.
 *
 *   tokenizer_config.json  add_bos_token, add_eos_token, if present
 *   tokenizer.json         else its post_processor, a template for one text */
#ifndef LVLM_RUNTIME_PREPARE_PROMPT_PROMPT_AFFIX_H
#define LVLM_RUNTIME_PREPARE_PROMPT_PROMPT_AFFIX_H

#include "runtime/prepare/tokenizer/tokenizer.h"

LVLM_BEGIN_DECLS

enum { PROMPT_MAX_AFFIX = 8 };

typedef struct prompt_affix {
    int64_t front[PROMPT_MAX_AFFIX], back[PROMPT_MAX_AFFIX];
    size_t n_front, n_back;
} prompt_affix;

/* LVLM_EFORMAT: a switch that is not true or false or whose token does not exist; a
 * post_processor other than a template or ByteLevel; a template that names an unknown
 * token, more than PROMPT_MAX_AFFIX of them, or anything except tokens around one
 * text. */
LVLM_MUST_CHECK int prompt_affix_read(prompt_affix *out, const lvlm_checkpoint *cp,
                                      const lvlm_tokenizer *tokenizer, lvlm_error *err);

LVLM_END_DECLS

#endif
