/* template_layout.h - writes the parts of a chat template as a template again, one per
 * line, like templates laid out by hand. */
#ifndef LVLM_TESTS_RUNTIME_PREPARE_TEMPLATE_LAYOUT_H
#define LVLM_TESTS_RUNTIME_PREPARE_TEMPLATE_LAYOUT_H

#include "formats/base/strbuf.h"
#include "runtime/prepare/prompt/template_parts.h"

static inline void template_layout_string(lvlm_strbuf *out, const template_part *part)
{
    lvlm_strbuf_puts(out, "\n        {{- \"");
    for (size_t i = 0; i < part->n; i++) {
        const char c = part->text[i];
        if (c == '\n')
            lvlm_strbuf_puts(out, "\\n");
        else if (c == '\r')
            lvlm_strbuf_puts(out, "\\r");
        else if (c == '"' || c == '\\')
            lvlm_strbuf_printf(out, "\\%c", c);
        else
            lvlm_strbuf_append(out, &c, 1);
    }
    lvlm_strbuf_puts(out, "\" }}");
}

/* Replaces the contents of `out`. */
static inline void template_layout(lvlm_strbuf *out, const template_part *parts,
                                   size_t n)
{
    out->length = 0;
    for (size_t i = 0; i < n; i++) {
        const bool statement = parts[i].kind == TEMPLATE_STATEMENT;
        if (parts[i].kind == TEMPLATE_LITERAL) {
            template_layout_string(out, &parts[i]);
            continue;
        }
        lvlm_strbuf_puts(out,
                         statement ? "\n{#- a note -#}\n    {%-  " : "\n    {{-\t");
        lvlm_strbuf_append(out, parts[i].text, parts[i].n);
        lvlm_strbuf_puts(out, statement ? " %}" : " }}");
    }
    lvlm_strbuf_puts(out, "\n");
}

#endif
