/* template_forms.h - private to prompts: the chat templates that models are released
 * with, each as what styles write instead of executing it.
 *
 * Only the parts of a form count (template_parts.h): its layout here is ours. */
#ifndef LVLM_RUNTIME_INPUT_TEMPLATE_FORMS_H
#define LVLM_RUNTIME_INPUT_TEMPLATE_FORMS_H

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

typedef struct template_form {
    const char *of;   /* which models, or whose; NULL ends a list */
    const char *text; /* a template */
} template_form;

extern const template_form template_forms_chatml[];
extern const template_form template_forms_qwen2_base[];
extern const template_form template_forms_llama32[]; /* with the knowledge's date */
extern const template_form template_forms_llama3[];  /* without */

LVLM_END_DECLS

#endif
