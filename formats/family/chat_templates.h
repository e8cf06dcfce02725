/* chat_templates.h - chat templates for models that are composed: written beside them,
 * and recognised where prompts are written.
 *
 *   llava      the hub's for LLaVA-1.5
 *   vicuna_v1  the makers' conversations of that name, whose answers end with eos
 *   chatml     <|im_start|> and <|im_end|>
 *   gemma      <start_of_turn> and <end_of_turn>
 *
 * Pictures come first in a turn, each as "<image>" and a new line. */
#ifndef LVLM_FORMATS_FAMILY_CHAT_TEMPLATES_H
#define LVLM_FORMATS_FAMILY_CHAT_TEMPLATES_H

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

#define LVLM_VICUNA_SYSTEM                                                             \
    "A chat between a curious user and an artificial intelligence assistant. The "     \
    "assistant gives helpful, detailed, and polite answers to the user's questions."

extern const char lvlm_chat_template_llava[];
extern const char lvlm_chat_template_vicuna_v1[];
extern const char lvlm_chat_template_chatml[];
extern const char lvlm_chat_template_gemma[];

/* By name; NULL: there is none. */
const char *lvlm_chat_template(const char *name);

LVLM_END_DECLS

#endif
