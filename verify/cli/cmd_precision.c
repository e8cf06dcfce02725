/* cmd_precision.c - lvlm-verify precision MODEL --inputs IN.safetensors */
#include "formats/cli/outputs.h"
#include "formats/cli/program.h"
#include "verify/cli/verify_commands.h"
#include "verify/precision.h"
#include "verify/report/report.h"

typedef struct args {
    lvlm_common_args common;
    const char *inputs;
    const char *reference;
    const char *report;
    bool grads, force;
} args;

static const lvlm_option options[] = {
    { "inputs", "FILE.safetensors", LVLM_OPTION_TEXT, offsetof(args, inputs),
      "a recording, or inputs as lvlm-run forward takes them" },
    { "grads", NULL, LVLM_OPTION_FLAG, offsetof(args, grads),
      "measure gradients too; there are labels among the inputs" },
    { "reference", "trained|transformers-VERSION", LVLM_OPTION_TEXT,
      offsetof(args, reference),
      "whose behaviour to compute where they differ (default: what the inputs say)" },
    { "report", "FILE.html", LVLM_OPTION_TEXT, offsetof(args, report),
      "write a report for people" },
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(args, force), "overwrite the report" },
    LVLM_OPTION_END,
};

static int open_report(lvlm_outputs *outputs, lvlm_outfile **html, const args *a,
                       const lvlm_operands *operands, lvlm_error *err)
{
    const char *const inputs[] = { operands->at[0], a->inputs };
    outputs->force = a->force;
    TRY(lvlm_outputs_file(outputs, html, a->report, err));
    return lvlm_outputs_spare(outputs, inputs, 2, err);
}

static int run(const void *arguments, const lvlm_operands *operands)
{
    const args *a = arguments;
    lvlm_notes notes = LVLM_NOTES_INIT;
    lvlm_progress bar, checking;
    const lvlm_precision_options precision_options = {
        .compute = LVLM_COMPUTE_F32,
        .threads = lvlm_thread_count(&a->common),
        .reference = a->reference,
        .grads = a->grads,
        .progress = lvlm_progress_stages,
        .user = &bar,
        .checking = lvlm_progress_bytes,
        .checking_user = &checking,
        .notes = &notes,
    };
    lvlm_outputs outputs = { .force = false };
    lvlm_outfile *html = NULL;
    lvlm_replay result;
    lvlm_error err;
    bool failed = false;
    int rc = open_report(&outputs, &html, a, operands, &err);
    if (rc < 0) goto done;
    lvlm_progress_init(&bar, "computing", a->common.quiet);
    lvlm_progress_init(&checking, "checking", a->common.quiet);
    rc = lvlm_precision_run(&result, operands->at[0], a->inputs, &precision_options,
                            &err);
    lvlm_progress_finish(&bar);
    lvlm_progress_finish(&checking);
    lvlm_print_notes(PROGRAM, &notes);
    if (rc < 0) goto done;
    if ((rc = verify_print_result(&result, a->common.json, &err)) == 0)
        rc = verify_write_report(html, lvlm_report_html, &result, &err);
    failed = result.n_failed > 0;
    lvlm_replay_free(&result);
done:
    lvlm_notes_free(&notes);
    lvlm_outputs_close(&outputs);
    if (rc < 0) return lvlm_report(PROGRAM, &err);
    return lvlm_exit_status(failed ? LVLM_ECHECK : LVLM_OK);
}

const lvlm_command command_precision = {
    "precision",
    "MODEL",
    1,
    1,
    "how far f32 is from double on this model and input, stage by stage",
    "Computes the inputs in double and in f32 and compares each stage: the error is\n"
    "the root mean square over rows of each row's relative L2; of logits the\n"
    "divergence and the agreement of first choices too. No reference is needed.\n"
    "Every stage is kept in memory in double, 8 bytes a value. Exit 1 when f32 is not\n"
    "finite somewhere.\n"
    "\n"
    "  lvlm-verify precision model.lvlm --inputs golden.safetensors",
    options,
    sizeof(args),
    run,
    .needs = "--inputs FILE.safetensors",
};
