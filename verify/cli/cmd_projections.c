/* cmd_projections.c - lvlm-verify projections PATH */
#include <stdio.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/cli/program.h"
#include "verify/cli/verify_commands.h"
#include "verify/projections.h"

/* Columns before the values. */
enum { INDENT = 12 };

static const lvlm_option options[] = { LVLM_OPTION_END };

static bool is_missing(const lvlm_projection_state *p)
{
    return strcmp(p->form, "missing") == 0;
}

static cJSON *projection_json(const lvlm_projection_state *p)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "role", p->table->role);
    cJSON_AddStringToObject(json, "name", p->name);
    cJSON_AddItemToObject(json, "shape", lvlm_shape_json(&p->shape));
    cJSON_AddBoolToObject(json, "bias", p->has_bias);
    cJSON_AddStringToObject(json, "form", p->form);
    cJSON *sources = cJSON_AddArrayToObject(json, "sources");
    for (size_t i = 0; i < p->n_sources; i++)
        cJSON_AddItemToArray(sources, cJSON_CreateString(p->sources[i]));
    cJSON_AddBoolToObject(json, "transposed", p->transposed);
    cJSON_AddStringToObject(json, "equation", p->table->equation);
    cJSON_AddStringToObject(json, "what", p->table->what);
    if (is_missing(p)) cJSON_AddStringToObject(json, "missing", p->table->missing);
    return json;
}

static void print_projection(const lvlm_projection_state *p)
{
    char shape[LVLM_SHAPE_TEXT];
    printf("%s: %s\n", p->table->role, p->name);
    printf("  form      %s%s\n", p->form, p->transposed ? ", stored transposed" : "");
    printf("  shape     %s, [out, in], %s bias%s\n", lvlm_shape_text(shape, &p->shape),
           p->has_bias ? "with" : "no",
           is_missing(p) ? "  (what it would be; the checkpoint lacks it)" : "");
    for (size_t i = 0; i < p->n_sources; i++)
        printf("  %s %s\n", i == 0 ? "source   " : "         ",
               lvlm_shown(p->sources[i]));
    lvlm_print_folded("  equation  ", INDENT, p->table->equation);
    lvlm_print_folded("  what      ", INDENT, p->table->what);
    if (is_missing(p))
        printf("  %s   %s. lvlm-convert hf2native --init-missing makes a new one, to "
               "be trained\n",
               lvlm_coloured(stdout, LVLM_YELLOW, "MISSING"), p->table->missing);
    if (strcmp(p->form, "made") == 0)
        lvlm_print_folded(
            "  MADE      ", INDENT,
            "at conversion, not found in the source: it means nothing until "
            "it is trained");
}

static int print_all(const lvlm_manifest *m, bool as_json, size_t *n_missing,
                     lvlm_error *err)
{
    cJSON *json = as_json ? lvlm_json_document() : NULL;
    cJSON *list = as_json ? cJSON_CreateArray() : NULL;
    lvlm_projection_cursor at = { 0, 0 };
    lvlm_projection_state p;
    while (lvlm_projections_next(&p, m, &at)) {
        *n_missing += is_missing(&p);
        if (as_json)
            cJSON_AddItemToArray(list, projection_json(&p));
        else
            print_projection(&p);
    }
    if (!as_json) return 0;
    cJSON_AddStringToObject(json, "family", m->family->name);
    cJSON_AddBoolToObject(json, "passed", *n_missing == 0);
    cJSON_AddItemToObject(json, "projections", list);
    lvlm_add_notes(json, m->checkpoint->notes);
    return lvlm_print_json(json, err);
}

static int run(const void *arguments, const lvlm_operands *operands)
{
    const lvlm_common_args *a = arguments;
    lvlm_notes notes = LVLM_NOTES_INIT;
    const lvlm_open_options open = { .notes = &notes };
    lvlm_checkpoint *cp = NULL;
    lvlm_manifest m;
    lvlm_error err;
    size_t n_missing = 0;
    int rc = lvlm_checkpoint_open(&cp, operands->at[0], &open, &err);
    if (rc == 0 && (rc = lvlm_manifest_build(&m, cp, &err)) == 0) {
        rc = print_all(&m, a->json, &n_missing, &err);
        lvlm_manifest_free(&m);
    }
    lvlm_checkpoint_close(cp);
    lvlm_print_notes(PROGRAM, &notes);
    lvlm_notes_free(&notes);
    if (rc < 0) return lvlm_report(PROGRAM, &err);
    if (n_missing > 0)
        fprintf(stderr, PROGRAM ": %s: %zu projection%s missing\n", operands->at[0],
                n_missing, n_missing == 1 ? " is" : "s are");
    return lvlm_exit_status(n_missing > 0 ? LVLM_ECHECK : LVLM_OK);
}

const lvlm_command command_projections = {
    "projections",
    "PATH",
    1,
    1,
    "every linear map from vision into language, and every head",
    "PATH is a model directory or a native file. Tells each map's shape, bias, form,\n"
    "where it comes from and its equation; for one that is missing (exit 1) what\n"
    "shape it would have and what the model does without it.\n"
    "\n"
    "forms: linear, raw_parameter, vit_head, tied, identity, made, missing",
    options,
    sizeof(lvlm_common_args),
    run,
};
