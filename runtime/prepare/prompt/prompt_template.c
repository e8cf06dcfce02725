/* prompt_template.c - finds the chat template and checks whether it is known. */
#include "runtime/prepare/prompt/prompt_template.h"

#include <assert.h>
#include <string.h>

#include "formats/base/json.h"

/* In transformers' order; the last is the tokenizer's. */
static const char *const files[] = { "processor_config.json", "chat_template.json",
                                     "chat_template.jinja", "tokenizer_config.json" };

/* This file has only a template. */
static const char template_file[] = "chat_template.json";

/* ---- a file --------------------------------------------------------------------- */

/* The templates of a file. */
typedef struct found {
    const char *file;
    lvlm_notes *notes;
    bool any;         /* at least one template, of any form */
    const char *text; /* the one that is used */
} found;

/* Keep "default"; note the others. */
static int take_named(found *out, const char *name, const cJSON *template,
                      lvlm_error *err)
{
    const char *const text = lvlm_json_string(template);
    FAIL_IF(name == NULL || text == NULL, err, LVLM_EFORMAT,
            "chat_template: expected texts with names");
    if (strcmp(name, "default") != 0)
        return lvlm_notes_add(out->notes, err,
                              "%s: chat template '%.64s' is not used: prompts follow "
                              "the one named default",
                              out->file, name);
    FAIL_IF(out->text != NULL, err, LVLM_EFORMAT,
            "chat_template: two are named default");
    out->text = text;
    return 0;
}

/* A text, a list of { "name", "template" }, or an object of named texts. */
static int find_in_json(found *out, const cJSON *json, lvlm_error *err)
{
    const cJSON *const value = lvlm_json_given(json, "chat_template"), *item;
    out->any = value != NULL;
    out->text = lvlm_json_string(value);
    if (!out->any || out->text != NULL) return 0;
    FAIL_IF(!cJSON_IsArray(value) && !cJSON_IsObject(value), err, LVLM_EFORMAT,
            "chat_template: expected a text, or texts with names");
    LVLM_JSON_ITEMS (item, value)
        TRY(take_named(out, lvlm_json_string(lvlm_json_get(item, "name")),
                       lvlm_json_get(item, "template"), err));
    LVLM_JSON_MEMBERS (item, value) TRY(take_named(out, item->string, item, err));
    FAIL_IF(out->text == NULL, err, LVLM_EFORMAT,
            "chat_template: none is named default, which is the one that is used");
    return 0;
}

static int read_json(template_parts *out, found *template, const lvlm_side_file *file,
                     lvlm_error *err)
{
    cJSON *json = NULL;
    int rc =
        lvlm_json_parse(&json, (const char *)file->bytes, (size_t)file->n_bytes, err);
    if (rc == 0) rc = find_in_json(template, json, err);
    if (rc == 0 && !template->any && strcmp(file->name, template_file) == 0)
        rc = lvlm_fail(err, LVLM_EFORMAT, "chat_template: is not there");
    if (rc == 0 && template->any)
        rc = template_parts_cut(out, template->text, strlen(template->text), err);
    lvlm_json_free(json);
    return rc;
}

/* Split the template of one file; *any: it has one, even if it is invalid. */
static int read_file(template_parts *out, bool *any, const lvlm_side_file *file,
                     lvlm_notes *notes, lvlm_error *err)
{
    const char *const end = strrchr(file->name, '.');
    found template = { .file = file->name, .notes = notes, .any = true };
    *out = (template_parts){ .n = 0 };
    const int rc = strcmp(end, ".jinja") == 0
                       ? template_parts_cut(out, (const char *)file->bytes,
                                            (size_t)file->n_bytes, err)
                       : read_json(out, &template, file, err);
    *any = template.any;
    if (rc < 0) lvlm_prefix(err, "%s: ", file->name);
    return rc;
}

/* ---- all of them ---------------------------------------------------------------- */

static size_t n_equal_parts(const template_parts *a, const template_parts *b)
{
    size_t n = 0;
    while (n < a->n && n < b->n && template_part_equal(&a->at[n], &b->at[n])) n++;
    return n;
}

static bool same_parts(const template_parts *a, const template_parts *b)
{
    return a->n == b->n && n_equal_parts(a, b) == a->n;
}

/* Note another file's template if it differs from the one that is used. */
static int compare_other(const prompt_template *t, const lvlm_side_file *file,
                         lvlm_notes *notes, lvlm_error *err)
{
    template_parts parts;
    bool any;
    int rc = read_file(&parts, &any, file, NULL, err);
    const bool differs =
        rc == LVLM_EFORMAT || (rc == 0 && any && !same_parts(&parts, &t->parts));
    template_parts_free(&parts);
    if (differs)
        rc = lvlm_notes_add(notes, err,
                            "%s: its chat template is not used: it differs from that "
                            "in %s, which counts first",
                            file->name, t->file);
    return rc;
}

int prompt_template_read(prompt_template *out, const lvlm_checkpoint *cp,
                         lvlm_error *err)
{
    *out = (prompt_template){ .file = NULL };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const lvlm_side_file *const file = lvlm_checkpoint_side_file(cp, files[i]);
        bool any;
        if (file == NULL) continue;
        if (out->file != NULL) {
            TRY(compare_other(out, file, cp->notes, err));
            continue;
        }
        const int rc = read_file(&out->parts, &any, file, cp->notes, err);
        if (any) out->file = files[i];
        TRY(rc);
    }
    return 0;
}

void prompt_template_free(prompt_template *t)
{
    template_parts_free(&t->parts);
    t->file = NULL;
}

/* ---- is it known ---------------------------------------------------------------- */

/* The form with the longest common prefix of parts so far. */
typedef struct nearest {
    const template_form *form;
    size_t n_equal; /* number of equal leading parts */
} nearest;

/* 1: the template is one of `forms`, which may be NULL; 0: it is not. */
static int match(nearest *near, const prompt_template *t, const template_form *forms,
                 lvlm_error *err)
{
    bool same = false;
    for (; forms != NULL && forms->of != NULL && !same; forms++) {
        template_parts form;
        const int rc = template_parts_cut(&form, forms->text, strlen(forms->text), err);
        const size_t n = n_equal_parts(&t->parts, &form);
        if (rc == 0 && (near->form == NULL || n > near->n_equal))
            *near = (nearest){ forms, n };
        same = rc == 0 && same_parts(&t->parts, &form);
        template_parts_free(&form);
        TRY(rc);
    }
    return same;
}

static const char *shown(char out[TEMPLATE_SHOWN], const template_parts *parts,
                         size_t i)
{
    return i < parts->n ? template_part_show(out, &parts->at[i]) : "its end";
}

static int refuse(const prompt_template *t, const nearest *near, lvlm_error *err)
{
    const template_form *const to = near->form;
    char got[TEMPLATE_SHOWN], expected[TEMPLATE_SHOWN];
    template_parts form;
    int rc = template_parts_cut(&form, to->text, strlen(to->text), err);
    if (rc == 0)
        rc = lvlm_fail(err, LVLM_EFORMAT,
                       "%s: its chat template is not a released one, and templates are "
                       "not executed: %s where that of %s has %s",
                       t->file, shown(got, &t->parts, near->n_equal), to->of,
                       shown(expected, &form, near->n_equal));
    template_parts_free(&form);
    return rc;
}

int prompt_template_find(size_t *out, const prompt_template *t,
                         const template_form *const *lists, size_t n, lvlm_error *err)
{
    nearest near = { .form = NULL };
    *out = n;
    if (t->file == NULL) return 0;
    for (*out = 0; *out < n; (*out)++) {
        const int rc = match(&near, t, lists[*out], err);
        if (rc != 0) return rc < 0 ? rc : 0;
    }
    assert(near.form != NULL);
    return refuse(t, &near, err);
}
