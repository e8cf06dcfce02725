/* cmd_all.c - lvlm-verify all MODEL GOLDEN... */
#include <stdio.h>
#include <string.h>

#include "formats/cli/program.h"
#include "verify/audit.h"
#include "verify/cli/verify_commands.h"
#include "verify/report/report.h"

static const lvlm_option options[] = {
    VERIFY_COMPUTE,     VERIFY_REFERENCE("recordings say"),
    VERIFY_GRADS,       VERIFY_TOLERANCE,
    VERIFY_REPORT,      VERIFY_JUNIT,
    VERIFY_ANNOTATIONS, VERIFY_FORCE,
    LVLM_OPTION_END,
};

/* ---- the result ----------------------------------------------------------------- */

/* "checksum     passed   48 tensors ..."; of a replay the recording first. */
static int print_check(const lvlm_check *c, lvlm_error *err)
{
    const lvlm_colour colour = c->state == LVLM_CHECK_PASSED    ? LVLM_GREEN
                               : c->state == LVLM_CHECK_SKIPPED ? LVLM_YELLOW
                                                                : LVLM_RED;
    const char *const state = lvlm_check_state_name(c->state);
    lvlm_strbuf sentence = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    lvlm_report_check(&sentence, c);
    const int rc = lvlm_strbuf_check(&sentence, err);
    if (rc == 0) {
        printf("%-11s  %s%*s  ", lvlm_check_name(c->kind),
               lvlm_coloured(stdout, colour, state), (int)(7 - strlen(state)), "");
        if (c->golden != NULL && c->error.code == LVLM_OK)
            printf("%s: ", lvlm_shown(c->golden));
        printf("%s\n", lvlm_shown(sentence.text));
    }
    lvlm_strbuf_free(&sentence);
    return rc;
}

static int print_text(const lvlm_audit *a, lvlm_error *err)
{
    lvlm_strbuf line = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    for (size_t i = 0; i < a->n_checks; i++) TRY(print_check(&a->checks[i], err));
    lvlm_report_audit(&line, a);
    const int rc = lvlm_strbuf_check(&line, err);
    if (rc == 0) printf("%s: %s\n", lvlm_shown(a->model), lvlm_shown(line.text));
    lvlm_strbuf_free(&line);
    return rc;
}

/* One check: what it found and, of a replay, what `replay --json` has. */
static void add_check(lvlm_printer *p, const lvlm_check *c)
{
    lvlm_strbuf sentence = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    lvlm_report_check(&sentence, c);
    lvlm_printer_object(p, NULL);
    lvlm_printer_text(p, "check", lvlm_check_name(c->kind));
    lvlm_printer_text(p, "state", lvlm_check_state_name(c->state));
    lvlm_printer_text(p, "summary", sentence.text != NULL ? sentence.text : "");
    lvlm_printer_count(p, "n_checked", c->n);
    lvlm_printer_count(p, "n_failed", c->n_failed);
    lvlm_printer_list(p, "problems");
    for (size_t i = 0; i < c->n_problems; i++)
        lvlm_printer_text(p, NULL, c->problems[i]);
    lvlm_printer_end(p);
    if (c->replay.model != NULL) {
        lvlm_printer_object(p, "replay");
        verify_print_replay(p, &c->replay);
        lvlm_printer_end(p);
    } else if (c->golden != NULL) {
        lvlm_printer_text(p, "golden", c->golden);
    }
    lvlm_printer_end(p);
    lvlm_strbuf_free(&sentence);
}

static int print_json(const lvlm_audit *a, const lvlm_notes *notes, lvlm_error *err)
{
    lvlm_printer p;
    lvlm_strbuf line = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    lvlm_report_audit(&line, a);
    lvlm_printer_open(&p, true, false);
    lvlm_printer_flag(&p, "passed", a->worst == NULL);
    lvlm_printer_text(&p, "verdict", line.text != NULL ? line.text : "");
    lvlm_strbuf_free(&line);
    lvlm_printer_text(&p, "model", a->model);
    if (a->checkpoint != NULL) {
        lvlm_printer_text(&p, "family", a->manifest.family->name);
        lvlm_printer_text(&p, "root", lvlm_checkpoint_meta(a->checkpoint, "root"));
    }
    lvlm_printer_count(&p, "n_passed", a->n_passed);
    lvlm_printer_list(&p, "checks");
    for (size_t i = 0; i < a->n_checks; i++) add_check(&p, &a->checks[i]);
    lvlm_printer_end(&p);
    return lvlm_printer_close(&p, notes, err);
}

/* ---- the command ---------------------------------------------------------------- */

static int write_reports(const verify_reports *r, const verify_proof_args *a,
                         const lvlm_audit *audit, lvlm_error *err)
{
    lvlm_strbuf html = LVLM_STRBUF_INIT(LVLM_MAX_REPORT), junit = html, lines = html;
    if (r->html != NULL) {
        lvlm_report_audit_html(&html, audit);
        TRY(verify_save(r->html, &html, err));
    }
    if (r->junit != NULL) {
        lvlm_report_audit_junit(&junit, audit);
        TRY(verify_save(r->junit, &junit, err));
    }
    if (a->annotations == NULL) return 0;
    lvlm_report_audit_github(&lines, audit);
    return verify_annotate(&lines, err);
}

/* The exit status is that of the worst check: 3, one could not be made; 1, one
 * failed. */
static int status_of(const lvlm_audit *audit, lvlm_error *err)
{
    const lvlm_check *const worst = audit->worst;
    if (worst == NULL || worst->state == LVLM_CHECK_FAILED) return worst != NULL;
    *err = worst->error;
    return (int)worst->error.code;
}

static int audit(lvlm_audit *out, const verify_proof_args *a,
                 const lvlm_operands *operands, lvlm_notes *notes, lvlm_error *err)
{
    verify_watch watch;
    lvlm_audit_options o = { verify_watch_begin(&watch, "replaying", a, notes),
                             { lvlm_thread_count(&a->common), lvlm_progress_bytes,
                               &watch.bytes },
                             notes };
    o.replay.compute = verify_compute(a);
    const int rc = lvlm_audit_run(out, operands->at[0], operands->at + 1,
                                  operands->n - 1, &o, err);
    verify_watch_end(&watch, notes);
    return rc;
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    const verify_proof_args *const a = arguments;
    verify_reports r;
    lvlm_audit result;
    int rc = verify_reports_open(&r, a, operands->at, operands->n, err);
    if (rc < 0) goto done;
    rc = audit(&result, a, operands, notes, err);
    if (rc < 0) {
        verify_report_error(&r, a, operands->at[0], operands->at[1], err);
    } else {
        rc =
            a->common.json ? print_json(&result, notes, err) : print_text(&result, err);
        if (rc == 0) rc = write_reports(&r, a, &result, err);
        if (rc == 0) rc = status_of(&result, err);
        lvlm_audit_free(&result);
    }
done:
    lvlm_outputs_close(&r.outputs);
    return rc;
}

const lvlm_command command_all = {
    "all",
    "MODEL GOLDEN...",
    2,
    LVLM_MAX_OPERANDS,
    "checksum, schema, projections, and a replay of every recording",
    "One result of everything that this program checks of a native file: one line for\n"
    "each check and one for all, one --junit, one --report. A check that fails does\n"
    "not keep the others from being made. The exit status is that of the worst: 3\n"
    "when one could not be made (a recording that cannot be read), 1 when one failed,\n"
    "0 when all passed.\n"
    "\n"
    "  lvlm-verify all model.lvlm goldens/*.safetensors --junit results.xml \\\n"
    "      --report report.html --annotations github",
    options,
    sizeof(verify_proof_args),
    run,
};
