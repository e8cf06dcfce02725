/* cmd_projections.c - lvlm-verify projections PATH */
#include <stdio.h>
#include <string.h>

#include "formats/cli/printer.h"
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

static void print_text(const lvlm_projection_state *p)
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

static void print_projection(lvlm_printer *to, const lvlm_projection_state *p)
{
    if (to->text) print_text(p);
    lvlm_printer_object(to, NULL);
    lvlm_printer_text(to, "role", p->table->role);
    lvlm_printer_text(to, "name", p->name);
    lvlm_printer_shape(to, "shape", &p->shape);
    lvlm_printer_flag(to, "bias", p->has_bias);
    lvlm_printer_text(to, "form", p->form);
    lvlm_printer_list(to, "sources");
    for (size_t i = 0; i < p->n_sources; i++)
        lvlm_printer_text(to, NULL, p->sources[i]);
    lvlm_printer_end(to);
    lvlm_printer_flag(to, "transposed", p->transposed);
    lvlm_printer_text(to, "equation", p->table->equation);
    lvlm_printer_text(to, "what", p->table->what);
    if (is_missing(p)) lvlm_printer_text(to, "missing", p->table->missing);
    lvlm_printer_end(to);
}

static int print_all(size_t *n_missing, const lvlm_manifest *m, bool as_json,
                     lvlm_error *err)
{
    lvlm_projection_cursor at = { 0, 0 };
    lvlm_projection_state state;
    lvlm_printer p;
    while (lvlm_projections_next(&state, m, &at)) *n_missing += is_missing(&state);
    lvlm_printer_open(&p, as_json, true);
    lvlm_printer_text(&p, "family", m->family->name);
    lvlm_printer_flag(&p, "passed", *n_missing == 0);
    lvlm_printer_list(&p, "projections");
    at = (lvlm_projection_cursor){ 0, 0 };
    while (lvlm_projections_next(&state, m, &at)) print_projection(&p, &state);
    lvlm_printer_end(&p);
    return lvlm_printer_close(&p, m->checkpoint->notes, err);
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    size_t n_missing;
    TRY(verify_judge(&n_missing, print_all, arguments, operands->at[0], notes, err));
    lvlm_print_notes(PROGRAM, notes);
    if (n_missing > 0)
        fprintf(stderr, PROGRAM ": %s: %zu projection%s missing\n", operands->at[0],
                n_missing, n_missing == 1 ? " is" : "s are");
    return n_missing > 0;
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
