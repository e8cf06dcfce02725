/* cmd_replay.c - lvlm-verify replay MODEL GOLDEN.safetensors */
#include <string.h>

#include "formats/cli/outputs.h"
#include "formats/cli/program.h"
#include "verify/cli/verify_commands.h"
#include "verify/report/report.h"

typedef struct args {
    lvlm_common_args common;
    const char *compute;
    const char *reference;
    const char *tolerance;
    const char *report;
    const char *junit;
    bool grads, force;
} args;

static const lvlm_option options[] = {
    { "compute", "f32|f64", LVLM_OPTION_TEXT, offsetof(args, compute),
      "precision of the computation (default: f64 for a recording in double, else "
      "f32)" },
    { "reference", "trained|transformers-VERSION", LVLM_OPTION_TEXT,
      offsetof(args, reference),
      "whose behaviour to compute where they differ (default: what the recording "
      "says)" },
    { "grads", NULL, LVLM_OPTION_FLAG, offsetof(args, grads),
      "compare the recorded gradients too (grad.*), from the head down" },
    { "tolerance", "FILE.json", LVLM_OPTION_TEXT, offsetof(args, tolerance),
      "bands: { \"text.blocks.*\": 1e-4, ... }; the first pattern that fits counts" },
    { "report", "FILE.html", LVLM_OPTION_TEXT, offsetof(args, report),
      "write a report for people" },
    { "junit", "FILE.xml", LVLM_OPTION_TEXT, offsetof(args, junit),
      "write a report for CI systems" },
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(args, force), "overwrite the reports" },
    LVLM_OPTION_END,
};

/* The report files of a run; those that were not requested are NULL. */
typedef struct reports {
    lvlm_outputs outputs;
    lvlm_outfile *html, *junit;
} reports;

static int open_reports(reports *r, const args *a, const lvlm_operands *operands,
                        lvlm_error *err)
{
    const char *const inputs[] = { operands->at[0], operands->at[1], a->tolerance };
    r->outputs.force = a->force;
    TRY(lvlm_outputs_file(&r->outputs, &r->html, a->report, err));
    TRY(lvlm_outputs_file(&r->outputs, &r->junit, a->junit, err));
    return lvlm_outputs_spare(&r->outputs, inputs, 3, err);
}

/* CI systems expect test results even if no stage was computed. */
static void write_error(const reports *r, const lvlm_operands *operands,
                        const lvlm_error *error)
{
    lvlm_strbuf xml = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    if (r->junit == NULL) return;
    lvlm_report_junit_error(&xml, operands->at[0], operands->at[1], error);
    (void)verify_save(r->junit, &xml, NULL); /* the first error is the one to report */
    lvlm_strbuf_free(&xml);
}

static int run(const void *arguments, const lvlm_operands *operands)
{
    const args *a = arguments;
    const bool f64 = a->compute != NULL && strcmp(a->compute, "f64") == 0;
    const lvlm_compute compute = f64 ? LVLM_COMPUTE_F64 : LVLM_COMPUTE_F32;
    bool failed = false;
    lvlm_notes notes = LVLM_NOTES_INIT;
    lvlm_progress bar, checking;
    const lvlm_replay_options replay_options = {
        .compute = a->compute != NULL ? &compute : NULL,
        .threads = lvlm_thread_count(&a->common),
        .reference = a->reference,
        .progress = lvlm_progress_stages,
        .user = &bar,
        .checking = lvlm_progress_bytes,
        .checking_user = &checking,
        .tolerance = a->tolerance,
        .grads = a->grads,
        .notes = &notes,
    };
    reports r = { .html = NULL };
    lvlm_replay replay;
    lvlm_error err;
    int rc = open_reports(&r, a, operands, &err);
    if (rc < 0) goto done;
    lvlm_progress_init(&bar, "replaying", a->common.quiet);
    lvlm_progress_init(&checking, "checking", a->common.quiet);
    rc = lvlm_replay_run(&replay, operands->at[0], operands->at[1], &replay_options,
                         &err);
    lvlm_progress_finish(&bar);
    lvlm_progress_finish(&checking);
    lvlm_print_notes(PROGRAM, &notes);
    if (rc < 0) {
        write_error(&r, operands, &err);
        goto done;
    }
    if ((rc = verify_print_result(&replay, a->common.json, &err)) == 0 &&
        (rc = verify_write_report(r.html, lvlm_report_html, &replay, &err)) == 0)
        rc = verify_write_report(r.junit, lvlm_report_junit, &replay, &err);
    failed = replay.n_failed > 0;
    lvlm_replay_free(&replay);
done:
    lvlm_notes_free(&notes);
    lvlm_outputs_close(&r.outputs);
    if (rc < 0) return lvlm_report(PROGRAM, &err);
    return lvlm_exit_status(failed ? LVLM_ECHECK : LVLM_OK);
}

const lvlm_command command_replay = {
    "replay",
    "MODEL GOLDEN",
    2,
    2,
    "run a recording's inputs and compare every stage that it holds",
    "MODEL is a native file, GOLDEN a .safetensors recording of a reference run on\n"
    "the same weights: inputs under in., stages under out. (formats/GOLDEN.md). Each\n"
    "stage is one row, in order of computation; the first one out of its band is\n"
    "named (exit 1). Rows of padding tokens are not compared.\n"
    "\n"
    "A recording in double is computed in double; then both agree to 1e-12, whatever\n"
    "the model, and the verdict is exact. Float32 has wider bands; what is beyond one\n"
    "is computed again in double and passes as rounding where the recording is hardly\n"
    "farther from double than our own f32 is. lvlm-verify precision measures that.\n"
    "\n"
    "  lvlm-verify replay model.lvlm golden.safetensors --report report.html",
    options,
    sizeof(args),
    run,
};
