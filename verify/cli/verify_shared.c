/* verify_shared.c - what several verbs of lvlm-verify do. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/text.h"
#include "formats/cli/program.h"
#include "verify/cli/verify_commands.h"
#include "verify/report/report.h"

/* ---- a model that is judged by its manifest -------------------------------------- */

int verify_judge(size_t *n_bad, verify_print *print, const lvlm_common_args *a,
                 const char *path, lvlm_notes *notes, lvlm_error *err)
{
    const lvlm_open_options open = { .in_place = true, .notes = notes };
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
        { "vacuous", LVLM_RED },
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

/* FILE.json and FILE.md. */
static int open_card(verify_reports *r, const char *path, lvlm_error *err)
{
    const size_t tail = lvlm_ends_with(path, ".json") ? strlen(".json") : 0;
    const char *const page =
        lvlm_arena_printf(&r->arena, "%.*s.md", (int)(strlen(path) - tail), path);
    if (page == NULL) return lvlm_fail_memory(err);
    TRY(lvlm_outputs_file(&r->outputs, &r->card, path, err));
    return lvlm_outputs_file(&r->outputs, &r->card_page, page, err);
}

int verify_reports_open(verify_reports *r, const verify_proof_args *a,
                        const char *const *inputs, size_t n, lvlm_error *err)
{
    *r = (verify_reports){ .outputs = { .force = a->force } };
    TRY(lvlm_outputs_file(&r->outputs, &r->html, a->report, err));
    TRY(lvlm_outputs_file(&r->outputs, &r->junit, a->junit, err));
    if (a->card != NULL) TRY(open_card(r, a->card, err));
    TRY(lvlm_outputs_spare(&r->outputs, &a->tolerance, 1, err));
    return lvlm_outputs_spare(&r->outputs, inputs, n, err);
}

void verify_reports_close(verify_reports *r)
{
    lvlm_outputs_close(&r->outputs);
    lvlm_arena_free(&r->arena);
}

int verify_save(lvlm_outfile *file, lvlm_strbuf *text, lvlm_error *err)
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

int verify_annotate(lvlm_strbuf *text, lvlm_error *err)
{
    const int rc = lvlm_strbuf_check(text, err);
    if (rc == 0 && text->text != NULL) fputs(text->text, stderr);
    lvlm_strbuf_free(text);
    return rc;
}

static int write_reports(const verify_reports *r, const verify_proof *proof,
                         const lvlm_replay *result, lvlm_error *err)
{
    lvlm_strbuf html = LVLM_STRBUF_INIT(LVLM_MAX_REPORT), junit = html, lines = html;
    if (r->html != NULL) {
        lvlm_report_html(&html, result);
        TRY(verify_save(r->html, &html, err));
    }
    if (r->junit != NULL) {
        lvlm_report_junit(&junit, result);
        TRY(verify_save(r->junit, &junit, err));
    }
    if (proof->args->annotations == NULL) return 0;
    lvlm_report_github(&lines, result);
    return verify_annotate(&lines, err);
}

/* The first error is the one to report: others are not. */
void verify_report_error(const verify_reports *r, const verify_proof_args *a,
                         const char *model, const char *golden, const lvlm_error *error)
{
    lvlm_strbuf xml = LVLM_STRBUF_INIT(LVLM_MAX_REPORT), line = xml;
    if (r->junit != NULL) {
        lvlm_report_junit_error(&xml, model, golden, error);
        (void)!verify_save(r->junit, &xml, NULL);
    }
    if (a->annotations == NULL) return;
    lvlm_report_github_line(&line, true, PROGRAM, golden, error->text);
    (void)!verify_annotate(&line, NULL);
}

/* ---- a proof --------------------------------------------------------------------- */

/* --compute. NULL: not given. */
static const lvlm_compute *compute_of(const verify_proof_args *args)
{
    static const lvlm_compute all[] = { LVLM_COMPUTE_F32, LVLM_COMPUTE_F64,
                                        LVLM_COMPUTE_BF16X2, LVLM_COMPUTE_BF16 };
    return args->compute != NULL ? &all[lvlm_compute_of(args->compute)] : NULL;
}

lvlm_replay_options verify_watch_begin(verify_watch *watch, const char *label,
                                       const verify_proof_args *a, lvlm_notes *notes)
{
    lvlm_progress_init(&watch->stages, label, a->common.quiet);
    lvlm_progress_init(&watch->bytes, "checking", a->common.quiet);
    return (lvlm_replay_options){
        .compute = compute_of(a),
        .threads = lvlm_thread_count(&a->common),
        .reference = a->reference,
        .tolerance = a->tolerance,
        .layers = (size_t)a->layers,
        .grads = a->grads,
        .steps = a->steps,
        .progress = lvlm_progress_stages,
        .user = &watch->stages,
        .checking = lvlm_progress_bytes,
        .checking_user = &watch->bytes,
        .notes = notes,
    };
}

lvlm_audit_options verify_audit_begin(verify_watch *watch, const verify_proof_args *a,
                                      lvlm_notes *notes)
{
    const lvlm_replay_options replay = verify_watch_begin(watch, "replaying", a, notes);
    return (lvlm_audit_options){
        .replay = replay,
        .checksum = { replay.threads, lvlm_progress_bytes, &watch->bytes },
        .notes = notes,
    };
}

void verify_watch_end(verify_watch *watch, lvlm_notes *notes)
{
    lvlm_progress_finish(&watch->stages);
    lvlm_progress_finish(&watch->bytes);
    lvlm_print_notes(PROGRAM, notes);
}

static int compute(lvlm_replay *result, const verify_proof *proof, lvlm_notes *notes,
                   lvlm_error *err)
{
    verify_watch watch;
    const lvlm_replay_options options =
        verify_watch_begin(&watch, proof->label, proof->args, notes);
    const int rc = proof->run(result, proof->model, proof->golden, &options, err);
    verify_watch_end(&watch, notes);
    return rc;
}

int verify_prove(const verify_proof *proof, lvlm_notes *notes, lvlm_error *err)
{
    const char *const inputs[] = { proof->model, proof->golden };
    verify_reports r;
    lvlm_replay result;
    assert(proof->run != NULL && proof->golden != NULL);
    bool failed = false;
    int rc = verify_reports_open(&r, proof->args, inputs, 2, err);
    if (rc < 0) goto done;
    if ((rc = compute(&result, proof, notes, err)) < 0) {
        verify_report_error(&r, proof->args, proof->model, proof->golden, err);
        goto done;
    }
    rc = print_result(&result, proof->args->common.json, err);
    if (rc == 0) rc = write_reports(&r, proof, &result, err);
    failed = result.n_failed > 0;
    lvlm_replay_free(&result);
done:
    verify_reports_close(&r);
    return rc < 0 ? rc : failed;
}
