/* report_audit.c - an audit in words, as JUnit XML, as annotations, and as one page of
 * HTML. */
#include "formats/base/infile.h"
#include "verify/report/report.h"
#include "verify/report/report_parts.h"
#include "verify/report/report_words.h"

/* ---- words ---------------------------------------------------------------------- */

/* "2 of 48 tensors are corrupt, the first: PROBLEM". */
static void put_problems(lvlm_strbuf *out, const lvlm_check *c, const char *what)
{
    lvlm_strbuf_printf(out, "%zu of %zu %s %s %s", c->n_failed, c->n,
                       c->kind == LVLM_CHECK_PROJECTIONS ? "projections" : "tensors",
                       c->n_failed == 1 ? "is" : "are", what);
    if (c->n_problems > 0)
        lvlm_strbuf_printf(out, "%s: %s", c->n_problems > 1 ? ", the first" : "",
                           c->problems[0]);
}

static void put_replay(lvlm_strbuf *out, const lvlm_check *c)
{
    const lvlm_replay *const r = &c->replay;
    char verdict[LVLM_VERDICT_TEXT];
    if (r->first_bad == NULL) {
        lvlm_strbuf_puts(out, lvlm_report_verdict(verdict, r));
        return;
    }
    lvlm_strbuf_printf(out, "%zu of %zu stages %s, the first %s: ", r->n_failed,
                       r->n_stages, r->n_failed == 1 ? "fails" : "fail",
                       r->first_bad->name);
    lvlm_report_reason(out, r->first_bad);
    lvlm_report_mistake(out, r);
}

void lvlm_report_check(lvlm_strbuf *out, const lvlm_check *c)
{
    const bool passed = c->state == LVLM_CHECK_PASSED;
    if (c->state == LVLM_CHECK_SKIPPED)
        lvlm_strbuf_puts(out, "not tried: the file is damaged");
    else if (c->error.code != LVLM_OK)
        lvlm_strbuf_puts(out, c->error.text);
    else if (c->kind == LVLM_CHECK_REPLAY)
        put_replay(out, c);
    else if (c->kind == LVLM_CHECK_CHECKSUM && passed)
        lvlm_strbuf_printf(out, "%zu tensors and the header as they were written",
                           c->n);
    else if (c->kind == LVLM_CHECK_SCHEMA && passed)
        lvlm_strbuf_printf(out, "%zu tensors expected, all there", c->n);
    else if (c->kind == LVLM_CHECK_PROJECTIONS && passed)
        lvlm_strbuf_printf(out, "%zu expected, all there", c->n);
    else
        put_problems(out, c,
                     c->kind == LVLM_CHECK_CHECKSUM ? "corrupt"
                     : c->kind == LVLM_CHECK_SCHEMA ? "wrong"
                                                    : "missing or of one value");
}

/* `golden` is what the recording of the worst check is called. */
static void put_result(lvlm_strbuf *out, const lvlm_audit *a, const char *golden)
{
    const lvlm_check *const bad = a->worst;
    if (bad == NULL) {
        lvlm_strbuf_printf(out, "all %zu checks passed", a->n_checks);
        return;
    }
    lvlm_strbuf_printf(out, "%zu of %zu checks passed; %s%s%s %s", a->n_passed,
                       a->n_checks, lvlm_check_name(bad->kind),
                       golden != NULL ? " of " : "", golden != NULL ? golden : "",
                       bad->state == LVLM_CHECK_ERROR ? "could not be made" : "failed");
}

void lvlm_report_audit(lvlm_strbuf *out, const lvlm_audit *a)
{
    put_result(out, a, a->worst != NULL ? a->worst->golden : NULL);
}

/* ---- JUnit ---------------------------------------------------------------------- */

static bool has_stages(const lvlm_check *c)
{
    return c->kind == LVLM_CHECK_REPLAY && c->replay.model != NULL;
}

static lvlm_report_counts count(const lvlm_check *c)
{
    if (has_stages(c)) return (lvlm_report_counts){ c->n, c->n_failed, 0, 0 };
    return (lvlm_report_counts){ 1, c->state == LVLM_CHECK_FAILED,
                                 c->state == LVLM_CHECK_ERROR,
                                 c->state == LVLM_CHECK_SKIPPED };
}

static void put_outcome(lvlm_strbuf *out, const lvlm_check *c)
{
    lvlm_strbuf sentence = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    lvlm_report_check(&sentence, c);
    out->failed = out->failed || sentence.failed;
    const char *const text = sentence.text != NULL ? sentence.text : "";
    if (c->state == LVLM_CHECK_SKIPPED)
        lvlm_report_put(out, "      <skipped message=\"%s\"/>\n", text);
    else if (c->state == LVLM_CHECK_ERROR)
        lvlm_report_put(out, "      <error message=\"%s\"/>\n", text);
    else if (c->state == LVLM_CHECK_FAILED) {
        lvlm_report_put(out, "      <failure message=\"%s\">", text);
        for (size_t i = 0; i < c->n_problems; i++)
            lvlm_report_put(out, "%s\n", c->problems[i]);
        lvlm_strbuf_puts(out, "</failure>\n");
    }
    lvlm_strbuf_free(&sentence);
}

static void put_suite(lvlm_strbuf *out, const lvlm_audit *a, const lvlm_check *c)
{
    const lvlm_report_counts n = count(c);
    if (has_stages(c)) {
        lvlm_report_junit_replay(out, &c->replay);
        return;
    }
    lvlm_report_junit_suite(out, lvlm_check_name(c->kind), &n);
    lvlm_report_put(out, "    <testcase classname=\"%s\" name=\"%s\">\n",
                    lvlm_check_name(c->kind), c->golden != NULL ? c->golden : a->model);
    put_outcome(out, c);
    lvlm_strbuf_puts(out, "    </testcase>\n  </testsuite>\n");
}

void lvlm_report_audit_junit(lvlm_strbuf *out, const lvlm_audit *a)
{
    lvlm_report_counts sum = { 0, 0, 0, 0 };
    for (size_t i = 0; i < a->n_checks; i++) {
        const lvlm_report_counts n = count(&a->checks[i]);
        sum.tests += n.tests;
        sum.failures += n.failures;
        sum.errors += n.errors;
    }
    lvlm_report_junit_open(out, &sum);
    for (size_t i = 0; i < a->n_checks; i++) put_suite(out, a, &a->checks[i]);
    lvlm_report_junit_close(out);
}

/* ---- annotations ---------------------------------------------------------------- */

void lvlm_report_audit_github(lvlm_strbuf *out, const lvlm_audit *a)
{
    lvlm_strbuf line = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    for (size_t i = 0; i < a->n_checks; i++) {
        const lvlm_check *const c = &a->checks[i];
        lvlm_strbuf message = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
        if (has_stages(c)) {
            lvlm_report_github(out, &c->replay);
            continue;
        }
        lvlm_report_check(&message, c);
        if (c->state != LVLM_CHECK_PASSED && message.text != NULL)
            lvlm_report_github_line(out, true, lvlm_check_name(c->kind),
                                    c->golden != NULL ? c->golden : a->model,
                                    message.text);
        out->failed = out->failed || message.failed;
        lvlm_strbuf_free(&message);
    }
    lvlm_report_audit(&line, a);
    out->failed = out->failed || line.failed;
    if (line.text != NULL)
        lvlm_report_github_line(out, false, "lvlm-verify all", a->model, line.text);
    lvlm_strbuf_free(&line);
}

/* ---- HTML ----------------------------------------------------------------------- */

static void put_row(lvlm_strbuf *out, const lvlm_audit *a, const lvlm_check *c)
{
    const bool ok = c->state == LVLM_CHECK_PASSED;
    lvlm_strbuf sentence = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    lvlm_report_check(&sentence, c);
    out->failed = out->failed || sentence.failed;
    lvlm_report_put(out,
                    "<dt>%s <span class=\"verdict %s\">%s %s</span></dt>"
                    "<dd><span class=\"name\">%s</span>: %s</dd>\n",
                    lvlm_check_name(c->kind), ok ? "ok" : "bad", ok ? "✓" : "✗",
                    lvlm_check_state_name(c->state),
                    c->golden != NULL ? c->golden : a->model,
                    sentence.text != NULL ? sentence.text : "");
    for (size_t i = 1; i < c->n_problems; i++)
        lvlm_report_put(out, "<dt></dt><dd>%s</dd>\n", c->problems[i]);
    lvlm_strbuf_free(&sentence);
}

/* The verdict in a sentence, and what is wrong in another one. */
static void put_header(lvlm_strbuf *out, const lvlm_audit *a)
{
    const lvlm_check *const bad = a->worst;
    lvlm_strbuf line = LVLM_STRBUF_INIT(LVLM_MAX_REPORT), what = line;
    put_result(&line, a,
               bad != NULL && bad->golden != NULL ? lvlm_path_base(bad->golden) : NULL);
    if (bad != NULL) lvlm_report_check(&what, bad);
    out->failed = out->failed || line.failed || what.failed;
    lvlm_report_badge(out, bad == NULL, bad == NULL ? "✓ Passed" : "✗ Not passed",
                      NULL);
    lvlm_report_put(out, "<h1>%s</h1>\n", line.text != NULL ? line.text : "");
    if (what.text != NULL)
        lvlm_report_put(out, "<p class=\"why mismatch\">%s.</p>\n", what.text);
    lvlm_strbuf_puts(out, "</header>\n");
    lvlm_strbuf_free(&line);
    lvlm_strbuf_free(&what);
}

void lvlm_report_audit_html(lvlm_strbuf *out, const lvlm_audit *a)
{
    lvlm_report_page_open(out, a->worst == NULL ? "All checks passed" : "Not passed",
                          a->model);
    put_header(out, a);
    lvlm_strbuf_puts(out, "<h2>Checks</h2>\n<div class=\"panel\"><dl>\n");
    for (size_t i = 0; i < a->n_checks; i++) put_row(out, a, &a->checks[i]);
    lvlm_strbuf_puts(out, "</dl></div>\n");
    for (size_t i = 0; i < a->n_checks; i++) {
        if (!has_stages(&a->checks[i])) continue;
        lvlm_strbuf_puts(out, "<section class=\"replay\">\n");
        lvlm_report_replay(out, &a->checks[i].replay);
        lvlm_strbuf_puts(out, "</section>\n");
    }
    lvlm_report_page_close(out);
}
