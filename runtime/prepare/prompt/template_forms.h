/* template_forms.h - private to prompts: the chat templates of released models, for
 * which styles write the text without executing them.
 *
 * Only the parts of a form matter (template_parts.h), not its layout here. */
#ifndef LVLM_RUNTIME_PREPARE_PROMPT_TEMPLATE_FORMS_H
#define LVLM_RUNTIME_PREPARE_PROMPT_TEMPLATE_FORMS_H

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

typedef struct template_form {
    const char *of;   /* its models or origin; NULL ends a list */
    const char *text; /* a template */
} template_form;

extern const template_form template_forms_chatml[];
extern const template_form template_forms_qwen2_base[];
extern const template_form template_forms_llava[];
extern const template_form template_forms_vicuna_v1[];
extern const template_form template_forms_text_chatml[]; /* of language models, too */
extern const template_form template_forms_text_gemma[];
extern const template_form template_forms_llama32[]; /* with a cutoff date */
extern const template_form template_forms_llama3[];  /* without */

LVLM_END_DECLS

#endif
