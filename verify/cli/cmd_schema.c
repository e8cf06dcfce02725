/* cmd_schema.c - lvlm-verify schema PATH */
#include "formats/checkpoint/manifest.h"
#include "formats/cli/printer.h"
#include "formats/cli/program.h"
#include "verify/cli/verify_commands.h"

static const lvlm_option options[] = { LVLM_OPTION_END };

static void print_problem(void *user, const char *text)
{
    lvlm_printer *const p = user;
    lvlm_printer_line(p, "%s\n", lvlm_shown(text));
    lvlm_printer_text(p, NULL, text);
}

static void print_unused(const lvlm_printer *p, const lvlm_manifest *m)
{
    for (size_t i = 0; i < m->n_extras; i++)
        if (m->extras[i].kind == LVLM_EXTRA_UNUSED)
            lvlm_printer_line(p, "'%s' is not used, by rule %s\n",
                              lvlm_shown(m->extras[i].tensor->name),
                              m->extras[i].rule->name);
}

static int print_result(size_t *n_problems, const lvlm_manifest *m, bool as_json,
                        lvlm_error *err)
{
    lvlm_printer p;
    lvlm_printer_open(&p, as_json, true);
    lvlm_printer_list(&p, "problems");
    *n_problems = lvlm_manifest_problems(m, print_problem, &p);
    lvlm_printer_end(&p);
    print_unused(&p, m);
    lvlm_printer_line(&p, "%s: %zu tensors expected as %s, %zu problem%s\n",
                      m->checkpoint->path, m->n_targets, m->family->title, *n_problems,
                      *n_problems == 1 ? "" : "s");
    lvlm_printer_text(&p, "family", m->family->name);
    lvlm_printer_count(&p, "n_tensors", m->n_targets);
    lvlm_printer_flag(&p, "passed", *n_problems == 0);
    return lvlm_printer_close(&p, m->checkpoint->notes, err);
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    size_t n_problems;
    TRY(verify_judge(&n_problems, print_result, arguments, operands->at[0], notes,
                     err));
    return n_problems > 0;
}

const lvlm_command command_schema = {
    "schema",
    "PATH",
    1,
    1,
    "missing, unexpected, misshapen and mistyped tensors",
    "PATH is a model directory or a native file. Shapes are told in the family's own\n"
    "terms: expected [q_dim, hidden] = [2048, 2304], got ... Exit 1 when anything is\n"
    "wrong.",
    options,
    sizeof(lvlm_common_args),
    run,
};
