/* fuzz_template.c - any bytes as a chat template, and as the file that holds one.
 *
 * Parts, written as a template and parsed again, are the same parts. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/prepare/prompt/prompt_template.h"
#include "tests/runtime/prepare/template_layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 1 << 24, MOST_TEMPLATE = 1 << 20 };

static void check_parts(const template_parts *parts)
{
    for (size_t i = 0; i < parts->n; i++) {
        char shown[TEMPLATE_SHOWN];
        const bool literal = parts->at[i].kind == TEMPLATE_LITERAL;
        if (parts->at[i].n == 0) abort();
        if (literal && i > 0 && parts->at[i - 1].kind == TEMPLATE_LITERAL) abort();
        if (strlen(template_part_show(shown, &parts->at[i])) >= TEMPLATE_SHOWN) abort();
    }
}

static void cut_again(const template_parts *parts)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(MOST);
    template_parts again;
    lvlm_error err;
    template_layout(&text, parts->at, parts->n);
    if (text.failed || text.length > MOST_TEMPLATE) {
        lvlm_strbuf_free(&text);
        return;
    }
    if (template_parts_cut(&again, text.text, text.length, &err) < 0) abort();
    if (again.n != parts->n) abort();
    for (size_t i = 0; i < again.n; i++)
        if (!template_part_equal(&again.at[i], &parts->at[i])) abort();
    template_parts_free(&again);
    lvlm_strbuf_free(&text);
}

static void read_file(const char *name, const uint8_t *data, size_t size)
{
    static const template_form *const lists[] = { template_forms_chatml,
                                                  template_forms_llama32 };
    lvlm_side_file file = { name, data, size };
    const lvlm_checkpoint cp = { .path = "fuzz",
                                 .side_files = &file,
                                 .n_side_files = 1 };
    prompt_template template;
    lvlm_error err;
    size_t i;
    if (prompt_template_read(&template, &cp, &err) == 0 && template.file != NULL) {
        const int rc = prompt_template_find(&i, &template, lists, 2, &err);
        if (rc < 0 ? rc != LVLM_EFORMAT : i >= 2) abort();
    }
    prompt_template_free(&template);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    template_parts parts;
    lvlm_error err;
    if (template_parts_cut(&parts, (const char *)data, size, &err) == 0) {
        check_parts(&parts);
        cut_again(&parts);
    }
    template_parts_free(&parts);
    read_file("chat_template.jinja", data, size);
    read_file("chat_template.json", data, size);
    return 0;
}
