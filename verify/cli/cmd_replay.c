/* cmd_replay.c - lvlm-verify replay MODEL GOLDEN.safetensors */
#include <stdio.h>
#include <string.h>

#include "formats/base/outfile.h"
#include "formats/cli/program.h"
#include "verify/cli/verify_commands.h"
#include "verify/report.h"

typedef struct args {
    lvlm_common_args common;
    const char *compute;
    const char *reference;
    const char *tolerance;
    const char *report;
    const char *junit;
    bool grads;
} args;

static const lvlm_option options[] = {
    { "compute", "f32|f64", LVLM_OPTION_TEXT, offsetof(args, compute),
      "precision of the computation (default f32)" },
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
    LVLM_OPTION_END,
};

/* Reports of an earlier run are replaced: they hold nothing that a run does not
 * make. */
static int save(const char *path, const lvlm_strbuf *text, lvlm_error *err)
{
    TRY(lvlm_strbuf_check(text, err));
    return lvlm_outfile_save(path, text->text, text->length, true, err);
}

static int write_reports(const lvlm_replay *replay, const args *a, lvlm_error *err)
{
    lvlm_strbuf html = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    lvlm_strbuf xml = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    int rc = 0;
    if (a->report != NULL) {
        lvlm_report_html(&html, replay);
        rc = save(a->report, &html, err);
    }
    if (rc == 0 && a->junit != NULL) {
        lvlm_report_junit(&xml, replay);
        rc = save(a->junit, &xml, err);
    }
    lvlm_strbuf_free(&html);
    lvlm_strbuf_free(&xml);
    return rc;
}

static int print_result(const lvlm_replay *replay, const args *a, lvlm_error *err)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    int rc = 0;
    if (a->common.json)
        rc = lvlm_report_json(&text, replay, err);
    else
        lvlm_report_text(&text, replay);
    if (rc == 0) rc = lvlm_strbuf_check(&text, err);
    if (rc == 0 && a->common.json)
        lvlm_print_json_text(text.text);
    else if (rc == 0)
        fputs(text.text, stdout);
    lvlm_strbuf_free(&text);
    return rc;
}

static int run(const void *arguments, const lvlm_operands *operands)
{
    const args *a = arguments;
    const bool f64 = a->compute != NULL && strcmp(a->compute, "f64") == 0;
    lvlm_progress bar, checking;
    const lvlm_replay_options replay_options = {
        .compute = f64 ? LVLM_COMPUTE_F64 : LVLM_COMPUTE_F32,
        .threads = lvlm_thread_count(&a->common),
        .reference = a->reference,
        .progress = lvlm_progress_stages,
        .user = &bar,
        .checking = lvlm_progress_bytes,
        .checking_user = &checking,
        .tolerance = a->tolerance,
        .grads = a->grads,
    };
    lvlm_replay replay;
    lvlm_error err;
    lvlm_progress_init(&bar, "replaying", 0, a->common.quiet);
    lvlm_progress_init(&checking, "checking", 0, a->common.quiet);
    int rc = lvlm_replay_run(&replay, operands->at[0], operands->at[1], &replay_options,
                             &err);
    lvlm_progress_finish(&bar);
    lvlm_progress_finish(&checking);
    if (rc < 0) return lvlm_report(PROGRAM, &err);
    if ((rc = print_result(&replay, a, &err)) == 0)
        rc = write_reports(&replay, a, &err);
    const bool failed = replay.n_failed > 0;
    lvlm_replay_free(&replay);
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
    "the same weights: inputs under in., stages under out. Each stage is one row, in\n"
    "order of computation; the first one out of its band is named (exit 1). Rows of\n"
    "padding tokens are not compared.\n"
    "\n"
    "  lvlm-verify replay model.lvlm golden.safetensors --report report.html",
    options,
    sizeof(args),
    run,
};
