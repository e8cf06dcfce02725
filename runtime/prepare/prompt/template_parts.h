/* template_parts.h - private to prompts: splits a chat template into the texts that it
 * writes and the statements between them. Nothing is executed.
 *
 *   {%- if add_generation_prompt %}{{- "<|im_start|>" + role + '\n' }}{# why #}
 *
 *   statement  if add_generation_prompt
 *   literal    <|im_start|>
 *   expression role
 *   literal    a new line
 *
 * Two templates that differ only in comments, quoting, white space inside of tags,
 * white space that is trimmed, a['b'] for a.b, or text that is written as a string have
 * equal parts. The rules are Jinja's with trim_blocks and lstrip_blocks, which
 * transformers sets: "-" trims all white space on its side of a tag, "+" keeps it, a
 * statement or comment drops the blanks before it on its line and the new line after
 * it, and the last new line of the file is dropped. */
#ifndef LVLM_RUNTIME_PREPARE_PROMPT_TEMPLATE_PARTS_H
#define LVLM_RUNTIME_PREPARE_PROMPT_TEMPLATE_PARTS_H

#include <stdbool.h>

#include "formats/base/arena.h"

LVLM_BEGIN_DECLS

typedef enum template_kind {
    TEMPLATE_LITERAL,    /* written as it is; never empty, never two in a row */
    TEMPLATE_EXPRESSION, /* {{ }} whose value is written */
    TEMPLATE_STATEMENT,  /* {% %} */
} template_kind;

typedef struct template_part {
    template_kind kind;
    const char *text; /* tokens in canonical spelling; of a literal its bytes */
    size_t n;         /* bytes of it */
} template_part;

typedef struct template_parts {
    template_part *at; /* (n) */
    size_t n, capacity;
    lvlm_arena arena; /* texts of the parts */
} template_parts;

/* Split a template of n bytes, in linear time. LVLM_EFORMAT: over 1 MiB, or a tag, a
 * string or a bracket that is invalid in Jinja; names the line. Free with
 * template_parts_free, also after a failure. */
LVLM_MUST_CHECK int template_parts_cut(template_parts *out, const char *text, size_t n,
                                       lvlm_error *err);
void template_parts_free(template_parts *parts);

bool template_part_equal(const template_part *a, const template_part *b);

/* Print a part as in a template, on one line and truncated. */
enum { TEMPLATE_SHOWN = 96 };
const char *template_part_show(char out[TEMPLATE_SHOWN], const template_part *part);

LVLM_END_DECLS

#endif
