/* cmd_schema.c - lvlm-verify schema PATH */
#include <stdio.h>

#include "formats/base/json.h"
#include "formats/checkpoint/manifest.h"
#include "formats/cli/program.h"
#include "verify/cli/verify_commands.h"

static const lvlm_option options[] = { LVLM_OPTION_END };

static void print_line(void *user, const char *text)
{
    (void)user;
    printf("%s\n", lvlm_shown(text));
}

static void add_line(void *user, const char *text)
{
    cJSON_AddItemToArray(user, cJSON_CreateString(text));
}

static void print_unused(const lvlm_manifest *m)
{
    for (size_t i = 0; i < m->n_extras; i++)
        if (m->extras[i].kind == LVLM_EXTRA_UNUSED)
            printf("'%s' is not used, by rule %s\n",
                   lvlm_shown(m->extras[i].tensor->name), m->extras[i].rule->name);
}

static int print_result(const lvlm_manifest *m, bool as_json, size_t *n_problems,
                        lvlm_error *err)
{
    if (!as_json) {
        *n_problems = lvlm_manifest_problems(m, print_line, NULL);
        print_unused(m);
        printf("%s: %zu tensors expected as %s, %zu problem%s\n", m->checkpoint->path,
               m->n_targets, m->family->title, *n_problems,
               *n_problems == 1 ? "" : "s");
        return 0;
    }
    cJSON *json = lvlm_json_document();
    cJSON *problems = cJSON_AddArrayToObject(json, "problems");
    *n_problems = lvlm_manifest_problems(m, add_line, problems);
    cJSON_AddStringToObject(json, "family", m->family->name);
    cJSON_AddNumberToObject(json, "n_tensors", (double)m->n_targets);
    cJSON_AddBoolToObject(json, "passed", *n_problems == 0);
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
    size_t n_problems = 0;
    int rc = lvlm_checkpoint_open(&cp, operands->at[0], &open, &err);
    if (rc == 0 && (rc = lvlm_manifest_build(&m, cp, &err)) == 0) {
        rc = print_result(&m, a->json, &n_problems, &err);
        lvlm_manifest_free(&m);
    }
    lvlm_checkpoint_close(cp);
    lvlm_print_notes(PROGRAM, &notes);
    lvlm_notes_free(&notes);
    if (rc < 0) return lvlm_report(PROGRAM, &err);
    return lvlm_exit_status(n_problems > 0 ? LVLM_ECHECK : LVLM_OK);
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
