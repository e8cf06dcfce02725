/* verify_shared.c - what several verbs of lvlm-verify do. */
#include <assert.h>
#include <stdio.h>

#include "formats/cli/outputs.h"
#include "formats/cli/program.h"
#include "verify/cli/verify_commands.h"
#include "verify/report/report.h"

/* ---- a model that is judged by its manifest -------------------------------------- */

int verify_judge(size_t *n_bad, verify_print *print, const lvlm_common_args *a,
                 const char *path, lvlm_notes *notes, lvlm_error *err)
{
    const lvlm_open_options open = { .notes = notes };
    lvlm_checkpoint *cp = NULL;
    lvlm_manifest m;
    *n_bad = 0;
    int rc = lvlm_checkpoint_open(&cp, path, &open, err);
    if (rc == 0 && (rc = lvlm_manifest_build(&m, cp, err)) == 0) {
        rc = print(n_bad, &m, a->json, err);
        lvlm_manifest_free(&m);
    }
    lvlm_checkpoint_close(cp);
    return rc;
}

/* ---- the result of a proof ------------------------------------------------------- */

/* Print a table on stdout, with coloured verdicts if colour is on. */
static void print_table(const char *table)
{
    static const lvlm_verdict_colour words[] = {
        { "ok", LVLM_GREEN },        { "exact", LVLM_GREEN },
        { "rounding", LVLM_GREEN },  { "OUT OF BAND", LVLM_RED },
        { "wrong shape", LVLM_RED }, { "missing", LVLM_YELLOW },
    };
    lvlm_print_verdicts(table, words, sizeof words / sizeof *words);
}

static int print_result(const lvlm_replay *result, bool json, lvlm_error *err)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    if (json) return verify_print_json(result, err);
    lvlm_report_text(&text, result, lvlm_terminal_width(stdout));
    const int rc = lvlm_strbuf_check(&text, err);
    if (rc == 0) print_table(text.text);
    lvlm_strbuf_free(&text);
    return rc;
}

/* ---- its reports ----------------------------------------------------------------- */

/* The report files of a run; those that were not requested are NULL. */
typedef struct reports {
    lvlm_outputs outputs;
    lvlm_outfile *html, *junit;
} reports;

static int open_reports(reports *r, const verify_proof *proof, lvlm_error *err)
{
    const verify_proof_args *const a = proof->args;
    const char *const inputs[] = { proof->model, proof->golden, a->tolerance };
    r->outputs.force = a->force;
    TRY(lvlm_outputs_file(&r->outputs, &r->html, a->report, err));
    TRY(lvlm_outputs_file(&r->outputs, &r->junit, a->junit, err));
    return lvlm_outputs_spare(&r->outputs, inputs, 3, err);
}

/* Write and commit a report, and free its text. */
static int save(lvlm_outfile *file, lvlm_strbuf *text, lvlm_error *err)
{
    assert(file != NULL);
    int rc = lvlm_strbuf_check(text, err);
    if (rc == 0) {
        lvlm_outfile_write(file, text->text, text->length);
        rc = lvlm_outfile_commit(file, err);
    }
    lvlm_strbuf_free(text);
    return rc;
}

static int write_reports(const reports *r, const lvlm_replay *result, lvlm_error *err)
{
    lvlm_strbuf html = LVLM_STRBUF_INIT(LVLM_MAX_REPORT), junit = html;
    if (r->html != NULL) {
        lvlm_report_html(&html, result);
        TRY(save(r->html, &html, err));
    }
    if (r->junit == NULL) return 0;
    lvlm_report_junit(&junit, result);
    return save(r->junit, &junit, err);
}

/* CI systems expect test results even if no stage was computed. */
static void write_error(const reports *r, const verify_proof *proof,
                        const lvlm_error *error)
{
    lvlm_strbuf xml = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    if (r->junit == NULL) return;
    lvlm_report_junit_error(&xml, proof->model, proof->golden, error);
    (void)save(r->junit, &xml, NULL); /* the first error is the one to report */
}

/* ---- a proof --------------------------------------------------------------------- */

static int compute(lvlm_replay *result, const verify_proof *proof, lvlm_notes *notes,
                   lvlm_error *err)
{
    const verify_proof_args *const a = proof->args;
    lvlm_progress bar, checking;
    const lvlm_replay_options options = {
        .compute = proof->compute,
        .threads = lvlm_thread_count(&a->common),
        .reference = a->reference,
        .tolerance = a->tolerance,
        .grads = a->grads,
        .progress = lvlm_progress_stages,
        .user = &bar,
        .checking = lvlm_progress_bytes,
        .checking_user = &checking,
        .notes = notes,
    };
    lvlm_progress_init(&bar, proof->label, a->common.quiet);
    lvlm_progress_init(&checking, "checking", a->common.quiet);
    const int rc = proof->run(result, proof->model, proof->golden, &options, err);
    lvlm_progress_finish(&bar);
    lvlm_progress_finish(&checking);
    lvlm_print_notes(PROGRAM, notes);
    return rc;
}

int verify_prove(const verify_proof *proof, lvlm_notes *notes, lvlm_error *err)
{
    reports r = { .html = NULL };
    lvlm_replay result;
    assert(proof->run != NULL && proof->golden != NULL);
    bool failed = false;
    int rc = open_reports(&r, proof, err);
    if (rc < 0) goto done;
    if ((rc = compute(&result, proof, notes, err)) < 0) {
        write_error(&r, proof, err);
        goto done;
    }
    rc = print_result(&result, proof->args->common.json, err);
    if (rc == 0) rc = write_reports(&r, &result, err);
    failed = result.n_failed > 0;
    lvlm_replay_free(&result);
done:
    lvlm_outputs_close(&r.outputs);
    return rc < 0 ? rc : failed;
}
