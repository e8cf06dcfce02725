/* cmd_projections.c - lvlm-verify projections PATH */
#include <stdio.h>
#include <string.h>

#include "formats/cli/printer.h"
#include "formats/cli/program.h"
#include "verify/cli/verify_commands.h"
#include "verify/projection_values.h"

/* Columns before the values. */
enum { INDENT = 12 };

static const lvlm_option options[] = { LVLM_OPTION_END };

static bool is_missing(const lvlm_projection_state *p)
{
    return strcmp(p->form, "missing") == 0;
}

/* "all zeros: ..." */
static void print_look(const lvlm_projection_state *p, const lvlm_projection_values *v)
{
    char text[256];
    if (v->same_as != NULL)
        (void)snprintf(text, sizeof text, "the same as those of %s", v->same_as);
    else if (strcmp(v->look, "zero") == 0)
        (void)snprintf(text, sizeof text, "all zeros: nothing passes through this map");
    else
        (void)snprintf(text, sizeof text,
                       "all %g: every output of this map is the same", v->value);
    lvlm_print_folded(
        lvlm_projection_values_fail(v, p) ? "  VALUES    " : "  values    ", INDENT,
        text);
}

static void print_text(const lvlm_projection_state *p, const lvlm_projection_values *v)
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
    if (v->look != NULL) print_look(p, v);
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

static void print_projection(lvlm_printer *to, const lvlm_projection_state *p,
                             const lvlm_projection_values *v)
{
    if (to->text) print_text(p, v);
    lvlm_printer_object(to, NULL);
    lvlm_printer_text(to, "role", p->table->role);
    lvlm_printer_text(to, "name", p->name);
    lvlm_printer_shape(to, "shape", &p->shape);
    lvlm_printer_flag(to, "bias", p->has_bias);
    lvlm_printer_text(to, "form", p->form);
    lvlm_printer_texts(to, "sources", p->sources, p->n_sources);
    lvlm_printer_flag(to, "transposed", p->transposed);
    lvlm_printer_text(to, "equation", p->table->equation);
    lvlm_printer_text(to, "what", p->table->what);
    if (is_missing(p)) lvlm_printer_text(to, "missing", p->table->missing);
    if (v->look != NULL) lvlm_printer_text(to, "values", v->look);
    if (v->same_as != NULL) lvlm_printer_text(to, "same_as", v->same_as);
    lvlm_printer_end(to);
}

static size_t count_bad(const lvlm_manifest *m, const lvlm_projection_values *values)
{
    lvlm_projection_cursor at = { 0, 0 };
    lvlm_projection_state state;
    size_t n = 0;
    for (size_t i = 0; lvlm_projections_next(&state, m, &at); i++)
        n += is_missing(&state) || lvlm_projection_values_fail(&values[i], &state);
    return n;
}

static int print_list(size_t *n_bad, const lvlm_manifest *m,
                      const lvlm_projection_values *values, bool as_json,
                      lvlm_error *err)
{
    lvlm_projection_cursor at = { 0, 0 };
    lvlm_projection_state state;
    lvlm_printer p;
    *n_bad = count_bad(m, values);
    lvlm_printer_open(&p, as_json, true);
    lvlm_printer_text(&p, "family", m->family->name);
    lvlm_printer_flag(&p, "passed", *n_bad == 0);
    lvlm_printer_list(&p, "projections");
    for (size_t i = 0; lvlm_projections_next(&state, m, &at); i++)
        print_projection(&p, &state, &values[i]);
    lvlm_printer_end(&p);
    return lvlm_printer_close(&p, m->checkpoint->notes, err);
}

static int print_all(size_t *n_bad, const lvlm_manifest *m, bool as_json,
                     lvlm_error *err)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_projection_values *values;
    int rc = lvlm_projection_values_read(&values, m, &arena, err);
    if (rc == 0) rc = print_list(n_bad, m, values, as_json, err);
    lvlm_arena_free(&arena);
    return rc;
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    size_t n_bad;
    TRY(verify_judge(&n_bad, print_all, arguments, operands->at[0], notes, err));
    lvlm_print_notes(PROGRAM, notes);
    if (n_bad > 0)
        fprintf(stderr, PROGRAM ": %s: %zu projection%s missing or of one value\n",
                operands->at[0], n_bad, n_bad == 1 ? " is" : "s are");
    return n_bad > 0;
}

const lvlm_command command_projections = {
    "projections",
    "PATH",
    1,
    1,
    "every linear map from vision into language, and every head",
    "PATH is a model directory or a native file. Tells each map's shape, bias, form,\n"
    "where it comes from and its equation; for one that is missing (exit 1) what\n"
    "shape it would have and what the model does without it. One whose values are\n"
    "all zero, or all the same, carries nothing (exit 1); one that repeats another\n"
    "is remarked.\n"
    "\n"
    "forms: linear, raw_parameter, vit_head, tied, identity, made, missing",
    options,
    sizeof(lvlm_common_args),
    run,
};
