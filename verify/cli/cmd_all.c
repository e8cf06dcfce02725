/* cmd_all.c - lvlm-verify all MODEL GOLDEN... */
#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/cli/program.h"
#include "verify/cli/verify_commands.h"
#include "verify/report/card.h"
#include "verify/report/report.h"

static const lvlm_option options[] = {
    VERIFY_COMPUTE,
    VERIFY_REFERENCE("recordings say"),
    VERIFY_GRADS,
    VERIFY_TOLERANCE,
    VERIFY_REPORT,
    VERIFY_JUNIT,
    VERIFY_ANNOTATIONS,
    VERIFY_FORCE,
    { "card", "FILE.json", LVLM_OPTION_TEXT, offsetof(verify_proof_args, card),
      "write an evidence card, and FILE.md for people; lvlm-verify card checks it "
      "again" },
    LVLM_OPTION_END,
};

/* ---- the result ----------------------------------------------------------------- */

static int print_result(const lvlm_audit *a, bool json, const lvlm_notes *notes,
                        lvlm_error *err)
{
    lvlm_strbuf line = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    lvlm_printer p;
    lvlm_report_audit(&line, a);
    const char *const verdict = line.text != NULL ? line.text : "";
    lvlm_printer_open(&p, json, true);
    lvlm_printer_flag(&p, "passed", a->worst == NULL);
    lvlm_printer_text(&p, "verdict", verdict);
    lvlm_printer_text(&p, "model", a->model);
    if (a->checkpoint != NULL) {
        lvlm_printer_text(&p, "family", a->manifest.family->name);
        lvlm_printer_text(&p, "root", lvlm_checkpoint_meta(a->checkpoint, "root"));
    }
    lvlm_printer_count(&p, "n_passed", a->n_passed);
    verify_print_checks(&p, a);
    lvlm_printer_line(&p, "%s: %s\n", lvlm_shown(a->model), lvlm_shown(verdict));
    lvlm_strbuf_free(&line);
    return lvlm_printer_close(&p, notes, err);
}

/* ---- the command ---------------------------------------------------------------- */

static int write_card(const verify_reports *r, const lvlm_audit *audit, lvlm_error *err)
{
    lvlm_strbuf page = LVLM_STRBUF_INIT(LVLM_MAX_REPORT), text = page;
    cJSON *card = NULL;
    char *printed = NULL;
    int rc = lvlm_card_make(&card, audit, err);
    if (rc == 0) rc = lvlm_json_print_pretty(&printed, card, err);
    if (rc == 0) {
        lvlm_strbuf_puts(&text, printed);
        lvlm_card_markdown(&page, card);
        rc = verify_save(r->card_page, &page, err);
    }
    if (rc == 0) rc = verify_save(r->card, &text, err);
    lvlm_free(printed);
    lvlm_json_free(card);
    return rc;
}

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
    if (r->card != NULL) TRY(write_card(r, audit, err));
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
    const lvlm_audit_options o = verify_audit_begin(&watch, a, notes);
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
        rc = print_result(&result, a->common.json, notes, err);
        if (rc == 0) rc = write_reports(&r, a, &result, err);
        if (rc == 0) rc = status_of(&result, err);
        lvlm_audit_free(&result);
    }
done:
    verify_reports_close(&r);
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
    "      --report report.html --card card.json --annotations github",
    options,
    sizeof(verify_proof_args),
    run,
};
