/* test_template_parts.c - chat templates split into parts, and known forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/strbuf.h"
#include "runtime/prepare/prompt/template_forms.h"
#include "runtime/prepare/prompt/template_parts.h"
#include "tests/runtime/prepare/template_layout.h"

enum { SHOWN = 1 << 16 };

/* ---- parts ---------------------------------------------------------------------- */

/* Parts in order: literals, "<expression>", "[statement]". */
static void parts_are(const char *template, const char *want)
{
    lvlm_strbuf got = LVLM_STRBUF_INIT(SHOWN);
    template_parts parts;
    lvlm_error err = { .text = "" };
    if (template_parts_cut(&parts, template, strlen(template), &err) < 0)
        fail_msg("%s: %s", template, err.text);
    lvlm_strbuf_puts(&got, "");
    for (size_t i = 0; i < parts.n; i++) {
        static const char *const open[] = { "", "<", "[" }, *const close[] = { "", ">",
                                                                               "]" };
        lvlm_strbuf_puts(&got, open[parts.at[i].kind]);
        lvlm_strbuf_append(&got, parts.at[i].text, parts.at[i].n);
        lvlm_strbuf_puts(&got, close[parts.at[i].kind]);
    }
    assert_string_equal(got.text, want);
    lvlm_strbuf_free(&got);
    template_parts_free(&parts);
}

static void text_and_tags_are_separated(void **state)
{
    (void)state;
    parts_are("", "");
    parts_are("a { b } %} }} #} {", "a { b } %} }} #} {");
    parts_are("a{{ b }}c{% if d %}e{# f {{ g }} #}h{% endif %}",
              "a<b>c[if d]eh[endif]");
    parts_are("a{{ 'b' }}c{{ \"d\\n\" }}", "abcd\n");
    parts_are("{{ 'a' + b ~ \"c\" }}", "a<b>c");
    parts_are("{{ a + 'b' + c }}", "<a>b<c>");
    parts_are("{{ '' }}", "");
    parts_are("{{ '\\x41\\t\\r\\\\\\'' }}", "A\t\r\\'");
}

/* Only a string among the first two operands makes "+" a concatenation. */
static void sums_of_numbers_are_not_concatenations(void **state)
{
    (void)state;
    parts_are("{{ a + b }}", "<a + b>");
    parts_are("{{ a + b + 'c' }}", "<a + b + 'c'>");
    parts_are("{{ 'a' + b if c else d }}", "<'a' + b if c else d>");
    parts_are("{{ 'a' in b + 'c' }}", "<'a' in b + 'c'>");
    parts_are("{{ ('a' + b) }}", "<('a' + b)>");
    parts_are("{{ f('a' + b) }}", "<f('a' + b)>");
    parts_are("{{ 'a' 'b' }}", "<'a' 'b'>");
    parts_are("{{ 'a' + b | trim }}", "a<b | trim>");
    parts_are("{{ -'a' + b }}", "<- 'a' + b>");
}

static void equivalent_spellings_give_equal_parts(void **state)
{
    (void)state;
    parts_are("{%if a['b']==\"c\"%}", "[if a['b'] == 'c']");
    parts_are("{%\n if\ta . b == 'c'\n%}", "[if a['b'] == 'c']");
    parts_are("{% if a.b() and a.items %}", "[if a . b() and a['items']]");
    parts_are("{% if a.0 != 1.5 %}", "[if a . 0 != 1.5]");
    parts_are("{% set a=b[1:][ 0 ] %}", "[set a = b[1 :][0]]");
    parts_are("{{ {'a': {\"b'\": 1}} }}", "<{'a' :{'b\\'' : 1}}>");
    parts_are("{{ a if b else '%}' }}{{ a['}}'] }}", "<a if b else '%}'><a['}}']>");
    parts_are("{{ f(\"\\\\\\t\\\"\") }}", "<f('\\\\\\x09\"')>");
}

/* Expectations are Jinja's, with trim_blocks and lstrip_blocks. */
static void white_space_is_dropped_as_jinja_does(void **state)
{
    (void)state;
    parts_are("a \n{%- b -%} \n c", "a[b]c");
    parts_are("a \n{{- b -}} \n c", "a<b>c");
    parts_are("a \n{#- b -#} \n c", "ac");
    parts_are("a\n  {% b %}\nc", "a\n[b]c");
    parts_are("a\n  {% b %}\n\nc", "a\n[b]\nc");
    parts_are("a\n  {%+ b +%}\nc", "a\n  [b]\nc");
    parts_are("a\n  {{ b }}\nc", "a\n  <b>\nc");
    parts_are("a  {% b %} c", "a  [b] c");
    parts_are("  {% a %}\n  {# b #}\n  {% c %}\n", "[a][c]");
    parts_are("{{ a }}  {% b %}", "<a>  [b]");
    parts_are("{{ 'a ' }} {%- b %}", "a [b]");
    parts_are("a\n", "a");
    parts_are("a\r\n\r\n", "a\n");
    parts_are("a\r\rb", "a\n\nb");
    parts_are("a\xc2\xa0\xe3\x80\x80{%- b -%}\xe2\x80\x83\x1c"
              "c",
              "a[b]c");
}

static void refuses(const char *template, size_t n, const char *message)
{
    template_parts parts;
    lvlm_error err = { .text = "" };
    assert_int_equal(template_parts_cut(&parts, template, n, &err), LVLM_EFORMAT);
    if (strstr(err.text, message) == NULL)
        fail_msg("%s: expected '%s', got '%s'", template, message, err.text);
    template_parts_free(&parts);
}

static void what_jinja_cannot_read_is_refused(void **state)
{
    static const struct {
        const char *template, *message;
    } cases[] = {
        { "{{ a", "line 1: a tag is not closed" },
        { "a\n\n{% b }}", "line 3: brackets that do not match" },
        { "{% b", "line 1: a tag is not closed" },
        { "a {# b", "a comment is not closed" },
        { "{{ 'a }}", "a string is not closed" },
        { "{{ 'a\\", "a string is not closed" },
        { "{{ 'a\\xc3' }}", "an escape in a string" },
        { "{{ 'a\\x4' }}", "an escape in a string" },
        { "{{ 'a\\N{DIGIT ONE}' }}", "an escape in a string" },
        { "{{ (a] }}", "brackets that do not match" },
        { "{{ a) }}", "brackets that do not match" },
        { "{{ (a }}", "brackets that do not match" },
        { "{{ a ? b }}", "a character in a tag" },
        { "{{ a ! b }}", "a character in a tag" },
        { "{{ }}", "an operator without a value" },
        { "{{ 'a' + }}", "an operator without a value" },
        { "{%- -%}", "an empty statement" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refuses(cases[i].template, strlen(cases[i].template), cases[i].message);
    refuses("{{ a\0b }}", 9, "a character in a tag");
}

/* The longest templates of the worst kinds; a minute would be too long. */
static void long_templates_are_split_quickly(void **state)
{
    static const char *const units[] = {
        "{",      "{{", "{{a}}", "{%-a-%}", "{#",   "{#-#}",        " {# #}",     "\n ",
        "{{'a'+", "'",  "(",     " ",       "{{a+", "\xe3\x80\x80", "{% a %}\n  "
    };
    enum { MOST = 1 << 20 };
    char *const text = malloc(MOST + 1);
    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        const size_t step = strlen(units[i]);
        template_parts parts;
        lvlm_error err;
        for (size_t at = 0; at < MOST; at++) text[at] = units[i][at % step];
        const int rc = template_parts_cut(&parts, text, MOST, &err);
        assert_true(rc == 0 || rc == LVLM_EFORMAT);
        template_parts_free(&parts);
    }
    refuses(text, MOST + 1, "at most 1048576");
    free(text);
}

static void shown_parts_are_one_short_line(void **state)
{
    char out[TEMPLATE_SHOWN];
    char text[300];
    (void)state;
    assert_string_equal(
        template_part_show(out, &(template_part){ TEMPLATE_STATEMENT, "if a", 4 }),
        "{% if a %}");
    assert_string_equal(
        template_part_show(out, &(template_part){ TEMPLATE_LITERAL, "a\n\x1b'", 4 }),
        "'a\\n\\x1b\\''");
    memset(text, '\n', sizeof text);
    for (size_t n = 1; n <= sizeof text; n++) {
        (void)template_part_show(out, &(template_part){ TEMPLATE_LITERAL, text, n });
        assert_true(strlen(out) < TEMPLATE_SHOWN && strchr(out, '\n') == NULL);
    }
    assert_non_null(strstr(out, "..."));
}

/* ---- forms ---------------------------------------------------------------------- */

static const template_form *const lists[] = { template_forms_chatml,
                                              template_forms_qwen2_base,
                                              template_forms_llama32,
                                              template_forms_llama3 };
enum { N_LISTS = sizeof lists / sizeof lists[0], MAX_FORMS = 16 };

/* All forms, split. */
typedef struct known {
    const template_form *form[MAX_FORMS];
    template_parts parts[MAX_FORMS];
    size_t n;
} known;

static int setup(void **state)
{
    known *const k = calloc(1, sizeof *k);
    assert_non_null(k);
    for (size_t i = 0; i < N_LISTS; i++)
        for (const template_form *f = lists[i]; f->of != NULL; f++, k->n++) {
            assert_true(k->n < MAX_FORMS);
            k->form[k->n] = f;
            assert_int_equal(
                template_parts_cut(&k->parts[k->n], f->text, strlen(f->text), NULL), 0);
        }
    *state = k;
    return 0;
}

static int teardown(void **state)
{
    known *const k = *state;
    for (size_t i = 0; i < k->n; i++) template_parts_free(&k->parts[i]);
    free(k);
    return 0;
}

static bool equal(const template_parts *a, const template_parts *b)
{
    bool same = a->n == b->n;
    for (size_t i = 0; same && i < a->n; i++)
        same = template_part_equal(&a->at[i], &b->at[i]);
    return same;
}

/* The index of the template's form, or -1. */
static int which(const known *k, const char *text, size_t n)
{
    template_parts parts;
    lvlm_error err;
    int found = -1;
    if (template_parts_cut(&parts, text, n, &err) == 0)
        for (size_t i = 0; i < k->n; i++)
            if (equal(&parts, &k->parts[i])) found = (int)i;
    template_parts_free(&parts);
    return found;
}

static void forms_are_recognised_in_every_spelling(void **state)
{
    const known *const k = *state;
    lvlm_strbuf text = LVLM_STRBUF_INIT(SHOWN);
    for (size_t i = 0; i < k->n; i++) {
        const char *const form = k->form[i]->text;
        assert_int_equal(which(k, form, strlen(form)), i);
        template_layout(&text, k->parts[i].at, k->parts[i].n);
        assert_int_equal(which(k, text.text, text.length), i);
        for (size_t j = 0; j < text.length; j++)
            if (text.text[j] == '\n') text.text[j] = '\r';
        assert_int_equal(which(k, text.text, text.length), i);
    }
    lvlm_strbuf_free(&text);
}

/* As in chat_template.json of Qwen2-VL-Instruct and Qwen2.5-VL-Instruct. */
static void released_files_are_recognised(void **state)
{
    static const char qwen[] =
        "{% set image_count = namespace(value=0) %}{% set video_count = "
        "namespace(value=0) %}{% for message in messages %}{% if loop.first and "
        "message['role'] != 'system' %}<|im_start|>system\nYou are a helpful "
        "assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n{% if "
        "message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else "
        "%}{% for content in message['content'] %}{% if content['type'] == 'image' or "
        "'image' in content or 'image_url' in content %}{% set image_count.value = "
        "image_count.value + 1 %}{% if add_vision_id %}Picture {{ image_count.value "
        "}}: {% endif %}<|vision_start|><|image_pad|><|vision_end|>{% elif "
        "content['type'] == 'video' or 'video' in content %}{% set video_count.value = "
        "video_count.value + 1 %}{% if add_vision_id %}Video {{ video_count.value }}: "
        "{% endif %}<|vision_start|><|video_pad|><|vision_end|>{% elif 'text' in "
        "content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif "
        "%}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif "
        "%}";
    /* as written by transformers' conversion of Llama 3.2 */
    static const char llama[] =
        "{% for message in messages %}{% if loop.index0 == 0 %}{{ bos_token }}{% endif "
        "%}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}{% "
        "if message['content'] is string %}{{ message['content'] }}{% else %}{% for "
        "content in message['content'] %}{% if content['type'] == 'image' %}{{ "
        "'<|image|>' }}{% elif content['type'] == 'text' %}{{ content['text'] }}{% "
        "endif %}{% endfor %}{% endif %}{{ '<|eot_id|>' }}{% endfor %}{% if "
        "add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n"
        "' }}{% endif %}";
    const known *const k = *state;
    assert_string_equal(k->form[which(k, qwen, sizeof qwen - 1)]->of,
                        "Qwen2-VL-Instruct");
    assert_ptr_equal(k->form[which(k, llama, sizeof llama - 1)], template_forms_llama3);
}

/* Is byte `i` inside of a tag? */
static bool in_tag(const char *text, size_t i)
{
    for (size_t at = i; at-- > 0;) {
        if (text[at] == '}' && at > 0 && strchr("%}", text[at - 1]) != NULL)
            return false;
        if (text[at] == '{' && at + 1 < i && strchr("%{", text[at + 1]) != NULL)
            return true;
    }
    return false;
}

/* A changed, added or removed byte anywhere is no longer a form, except blanks in
 * tags. */
static void any_changed_byte_makes_a_form_unknown(void **state)
{
    const known *const k = *state;
    char *const text = malloc(SHOWN);
    assert_non_null(text);
    for (size_t f = 0; f < k->n; f++) {
        const char *const form = k->form[f]->text;
        const size_t n = strlen(form);
        for (size_t i = 0; i < n; i++) {
            memcpy(text, form, n + 1);
            text[i] = text[i] == 'x' ? 'y' : 'x';
            if (which(k, text, n) >= 0) fail_msg("%s: byte %zu", k->form[f]->of, i);
            memcpy(text + i + 1, form + i, n - i);
            if (which(k, text, n + 1) >= 0) fail_msg("%s: at %zu", k->form[f]->of, i);
            memcpy(text + i, form + i + 1, n - i - 1);
            memcpy(text, form, i);
            if (which(k, text, n - 1) >= 0 && !(form[i] == ' ' && in_tag(form, i)))
                fail_msg("%s: without %zu", k->form[f]->of, i);
        }
    }
    free(text);
}

/* One part removed, duplicated or two exchanged: all parts are known, but the template
 * is not. */
static void misplaced_parts_make_a_form_unknown(void **state)
{
    const known *const k = *state;
    lvlm_strbuf text = LVLM_STRBUF_INIT(SHOWN);
    for (size_t f = 0; f < k->n; f++) {
        const template_parts *const form = &k->parts[f];
        template_part *const at = calloc(form->n + 1, sizeof *at);
        assert_non_null(at);
        for (size_t i = 0; i < form->n; i++) {
            template_parts changed = { .at = at, .n = form->n - 1 };
            memcpy(at, form->at, i * sizeof *at);
            memcpy(at + i, form->at + i + 1, (form->n - i - 1) * sizeof *at);
            template_layout(&text, changed.at, changed.n);
            assert_int_equal(which(k, text.text, text.length), -1);
            changed.n = form->n + 1;
            memcpy(at + i + 1, form->at + i, (form->n - i) * sizeof *at);
            at[i] = form->at[i];
            template_layout(&text, changed.at, changed.n);
            assert_int_equal(which(k, text.text, text.length), -1);
            if (i + 1 == form->n) continue;
            if (template_part_equal(&form->at[i], &form->at[i + 1])) continue;
            changed.n = form->n;
            memcpy(at, form->at, form->n * sizeof *at);
            at[i] = form->at[i + 1];
            at[i + 1] = form->at[i];
            template_layout(&text, changed.at, changed.n);
            assert_int_equal(which(k, text.text, text.length), -1);
        }
        free(at);
    }
    lvlm_strbuf_free(&text);
}

/* Typical modifications of templates. */
static void changed_templates_are_not_forms(void **state)
{
    static const struct {
        const char *from, *to;
    } changes[] = {
        { "<|im_start|>assistant\n", "<|im_start|>assistant\n<think>\n" },
        { "{{ message['content'] }}", "{{ message['content'] | trim }}" },
        { "{{ message['content'] }}", "{{ message['content'].strip() }}" },
        { "{{ content['text'] }}", "{{ content['text'] | trim }}" },
        { "You are a helpful assistant.", "You are Qwen." },
        { "{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}",
          "Picture {{ image_count.value }}: " },
        { "{% if add_generation_prompt %}", "{% if true %}" },
        { "{{ message['role'] }}", "{{ 'model' if message['role'] == 'assistant' else "
                                   "message['role'] }}" },
        { "{{ bos_token }}", "" },
        { "<|eot_id|>", "<|eom_id|>" },
        { "{% for message in messages %}", "{% for message in messages[1:] %}" },
        { "{% for message in messages %}", "{% for message in chat %}" },
        { "{% for message in messages %}",
          "{% set messages = messages[-1:] %}{% for message in messages %}" },
        { "<|end_header_id|>\n\n", "<|end_header_id|>\n" },
        { "<|im_end|>\n", "<|im_end|>" },
        { "'26 Jul 2024'", "'27 Jul 2024'" },
        { "{% for content in messages %}", "\n\n{% for content in messages %}" },
    };
    const known *const k = *state;
    lvlm_strbuf text = LVLM_STRBUF_INIT(SHOWN);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        size_t n = 0;
        for (size_t f = 0; f < k->n; f++) {
            const char *const form = k->form[f]->text;
            const char *const found = strstr(form, changes[i].from);
            if (found == NULL) continue;
            text.length = 0;
            lvlm_strbuf_append(&text, form, (size_t)(found - form));
            lvlm_strbuf_puts(&text, changes[i].to);
            lvlm_strbuf_puts(&text, found + strlen(changes[i].from));
            if (which(k, text.text, text.length) >= 0)
                fail_msg("%s: %s", k->form[f]->of, changes[i].to);
            n++;
        }
        if (n == 0) fail_msg("no form has %s", changes[i].from);
    }
    lvlm_strbuf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_tags_are_separated),
        cmocka_unit_test(sums_of_numbers_are_not_concatenations),
        cmocka_unit_test(equivalent_spellings_give_equal_parts),
        cmocka_unit_test(white_space_is_dropped_as_jinja_does),
        cmocka_unit_test(what_jinja_cannot_read_is_refused),
        cmocka_unit_test(long_templates_are_split_quickly),
        cmocka_unit_test(shown_parts_are_one_short_line),
        cmocka_unit_test(forms_are_recognised_in_every_spelling),
        cmocka_unit_test(released_files_are_recognised),
        cmocka_unit_test(any_changed_byte_makes_a_form_unknown),
        cmocka_unit_test(misplaced_parts_make_a_form_unknown),
        cmocka_unit_test(changed_templates_are_not_forms),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
