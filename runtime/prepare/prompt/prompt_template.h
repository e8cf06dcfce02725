/* prompt_template.h - private to prompts: a model's chat template, and whether it is a
 * known one.
 *
 *   processor_config.json, chat_template.json, chat_template.jinja,
 *   tokenizer_config.json     the first that has one is used, as in transformers
 *   one text, or named ones of those "default" is used
 *
 * A template is never executed. It is known if its parts (template_parts.h) are exactly
 * those of a released form, in the same order: a part that is missing, added or moved
 * would change the prompt. */
#ifndef LVLM_RUNTIME_PREPARE_PROMPT_PROMPT_TEMPLATE_H
#define LVLM_RUNTIME_PREPARE_PROMPT_PROMPT_TEMPLATE_H

#include "formats/checkpoint/checkpoint.h"
#include "runtime/prepare/prompt/template_forms.h"
#include "runtime/prepare/prompt/template_parts.h"

LVLM_BEGIN_DECLS

typedef struct prompt_template {
    /* its file, even if invalid; NULL: no template */
    const char *file;
    template_parts parts;
} prompt_template;

/* Differing templates of other files and templates under other names are noted in `cp`.
 * LVLM_EFORMAT names the file: one that must have a template and does not, or a
 * template that cannot be parsed. Free with prompt_template_free, also after a
 * failure. */
LVLM_MUST_CHECK int prompt_template_read(prompt_template *out,
                                         const lvlm_checkpoint *cp, lvlm_error *err);
void prompt_template_free(prompt_template *t);

/* Which of `lists` (n), some of them NULL, has the template as a form? *out is n if t
 * has no template. LVLM_EFORMAT: none has it; says where it differs from the form with
 * the longest common prefix of parts. */
LVLM_MUST_CHECK int prompt_template_find(size_t *out, const prompt_template *t,
                                         const template_form *const *lists, size_t n,
                                         lvlm_error *err);

LVLM_END_DECLS

#endif
