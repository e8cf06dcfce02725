/* prompt_template.h - private to prompts: the chat template that a model ships, and
 * whether it is one of those that are known.
 *
 *   processor_config.json, chat_template.json, chat_template.jinja,
 *   tokenizer_config.json     the first that has one counts, as for transformers
 *   one text, or named ones   of those "default" counts
 *
 * A template is never executed. It is known when its parts (template_parts.h) are those
 * of a released form, all of them and in the same order: a part that is missing, added
 * or moved writes another prompt, also where the form accounts for each that is there.
 */
#ifndef LVLM_RUNTIME_INPUT_PROMPT_TEMPLATE_H
#define LVLM_RUNTIME_INPUT_PROMPT_TEMPLATE_H

#include "formats/checkpoint.h"
#include "runtime/input/template_forms.h"
#include "runtime/input/template_parts.h"

LVLM_BEGIN_DECLS

typedef struct prompt_template {
    const char
        *file; /* where it is, also when it cannot be read; NULL: none is there */
    template_parts parts;
} prompt_template;

/* The form that a template has most in common with. All zero to begin with. */
typedef struct prompt_template_nearest {
    const template_form *form;
    size_t n_equal; /* parts from the first on */
} prompt_template_nearest;

/* The notes of `cp` get what is there besides: other files' templates that differ, and
 * templates under other names. LVLM_EFORMAT: a file that has to hold one and does not,
 * or one that cannot be cut; names the file. Free with prompt_template_free, also after
 * a failure. */
LVLM_MUST_CHECK int prompt_template_read(prompt_template *out,
                                         const lvlm_checkpoint *cp, lvlm_error *err);
void prompt_template_free(prompt_template *t);

/* Is it one of `forms`? Keeps the nearest in *nearest. */
LVLM_MUST_CHECK int prompt_template_match(bool *out, prompt_template_nearest *nearest,
                                          const prompt_template *t,
                                          const template_form *forms, lvlm_error *err);

/* LVLM_EFORMAT: the first part that differs from the nearest form. */
LVLM_MUST_CHECK int prompt_template_refuse(const prompt_template *t,
                                           const prompt_template_nearest *nearest,
                                           lvlm_error *err);

LVLM_END_DECLS

#endif
