/* report_junit.c - a replay as JUnit XML: one test case per stage.
 *
 *   testsuites / testsuite "replay" / properties: versions, digests
 *                                   / testcase FAMILY.COMPUTE, STAGE / failure
 *
 * No time and no host, which are optional: two runs give equal bytes. */
#include "verify/report/report.h"

#include <inttypes.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/version.h"
#include "verify/report/report_parts.h"
#include "verify/report/report_words.h"

/* ---- properties ----------------------------------------------------------------- */

#define PROPERTY(name) "      <property name=\"" name "\" value=\"%s\"/>\n"

/* Metadata of the golden has a prefix, so that it cannot replace other properties. */
static void put_properties(lvlm_strbuf *out, const lvlm_replay *r)
{
    const cJSON *item;
    lvlm_mismatch sentences[LVLM_MISMATCHES];
    lvlm_report_put(out,
                    "    <properties>\n" PROPERTY("lvlm") PROPERTY("model")
                        PROPERTY("model.root") PROPERTY("golden")
                            PROPERTY("golden.sha256") PROPERTY("reference"),
                    LVLM_VERSION, r->model, r->model_root, r->golden,
                    r->recording.sha256, r->reference);
    for (size_t i = 0; i < r->n_differences; i++)
        lvlm_report_put(out, PROPERTY("difference"),
                        lvlm_difference_name(r->differences[i]));
    const size_t n = lvlm_report_mismatches(sentences, r);
    for (size_t i = 0; i < n; i++)
        lvlm_report_put(out, PROPERTY("mismatch"), sentences[i]);
    for (size_t i = 0; i < r->not_compared.n; i++)
        lvlm_report_put(out, PROPERTY("not_compared"), r->not_compared.at[i]);
    for (size_t i = 0; i < r->not_exercised.n; i++)
        lvlm_report_put(out, PROPERTY("not_exercised"), r->not_exercised.at[i]);
    LVLM_JSON_MEMBERS (item, r->recording.metadata) {
        if (lvlm_json_string(item) != NULL)
            lvlm_report_put(out, PROPERTY("golden.%s"), item->string,
                            lvlm_json_string(item));
    }
    lvlm_strbuf_puts(out, "    </properties>\n");
}

/* ---- test cases ----------------------------------------------------------------- */

static void put_rows(lvlm_strbuf *out, const lvlm_replay *r, const lvlm_replay_stage *s)
{
    char error[LVLM_ERROR_TEXT];
    lvlm_place index, meaning;
    for (size_t i = 0; i < s->found.n_worst && s->got.n > 1; i++) {
        const lvlm_worst_row *row = &s->found.worst[i];
        lvlm_report_place(&index, &meaning, r, s, row);
        if (i == 0) {
            lvlm_strbuf_puts(out, "worst rows, ");
            lvlm_report_axes(out, &index);
            lvlm_strbuf_puts(out, ":\n");
        }
        lvlm_strbuf_puts(out, "row ");
        lvlm_report_row(out, &index, &meaning, row);
        lvlm_strbuf_printf(out, ": relative L2 %s\n",
                           lvlm_report_error(error, row->error));
    }
}

static void put_share(lvlm_strbuf *out, const lvlm_replay_stage *s)
{
    char own[LVLM_ERROR_TEXT], given[LVLM_ERROR_TEXT];
    lvlm_strbuf from = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    if (!s->share.known) return;
    lvlm_report_from(&from, s);
    out->failed |= from.failed;
    if (!from.failed)
        lvlm_report_put(out,
                        "own error %s, computed from %s%s, which was given with %s\n",
                        lvlm_report_error(own, s->share.own), from.text,
                        s->share.is_direct ? "" : " (not the stage before it)",
                        lvlm_report_error(given, s->share.given));
    lvlm_strbuf_free(&from);
}

static void put_details(lvlm_strbuf *out, const lvlm_replay *r,
                        const lvlm_replay_stage *s)
{
    char figures[LVLM_LOOK_TEXT];
    char shape[LVLM_SHAPE_TEXT], l2[LVLM_ERROR_TEXT], other[LVLM_ERROR_TEXT],
        band[LVLM_ERROR_TEXT];
    lvlm_strbuf_printf(out, "shape %s\n", lvlm_shape_text(shape, &s->shape));
    if (s->verdict != LVLM_VERDICT_OUT) return;
    lvlm_strbuf_printf(out, "error %s, relative L2 %s, ",
                       lvlm_report_error(other, s->error),
                       lvlm_report_error(l2, s->relative_l2));
    lvlm_strbuf_printf(out, "max abs %s",
                       lvlm_report_error(other, s->found.distance.max_abs));
    if (lvlm_report_has_cosine(s)) lvlm_strbuf_printf(out, ", cosine %.9f", s->cosine);
    lvlm_strbuf_puts(out, "\n");
    if (s->looked_again)
        lvlm_strbuf_printf(out, "%s\n", lvlm_report_look(figures, r, s));
    put_share(out, s);
    lvlm_strbuf_printf(out, "%" PRIu64 " of %" PRIu64 " values differ\n",
                       s->found.distance.n_differ, s->found.distance.n);
    if (s->is_logits)
        lvlm_strbuf_printf(out,
                           "max KL %s, band %s; same first choice in %" PRIu64
                           " of %" PRIu64 " rows\n",
                           lvlm_report_error(other, s->found.max_kl),
                           lvlm_report_band(band, s->band_kl), s->found.n_top1,
                           s->found.n_rows);
    put_rows(out, r, s);
}

/* Sentences of one kind on the cause; NULL: all. */
static void put_cause(lvlm_strbuf *out, const char *markup, const char *only,
                      const lvlm_replay *r)
{
    char text[LVLM_CAUSE_TEXT];
    const char *kind, *sentence;
    for (size_t i = 0; (sentence = lvlm_report_cause(text, &kind, r, i)) != NULL; i++)
        if (only == NULL || strcmp(kind, only) == 0)
            lvlm_report_put(out, markup, sentence);
}

static void put_failure(lvlm_strbuf *out, const lvlm_replay *r,
                        const lvlm_replay_stage *s)
{
    lvlm_mismatch sentences[LVLM_MISMATCHES];
    const size_t n = s == r->first_bad ? lvlm_report_mismatches(sentences, r) : 0;
    lvlm_strbuf whose = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    lvlm_strbuf_puts(out, "      <failure message=\"");
    lvlm_report_reason(out, s);
    if (s == r->first_bad) lvlm_report_whose(&whose, r);
    out->failed |= whose.failed;
    if (whose.length > 0) lvlm_report_put(out, "; %s", whose.text);
    lvlm_strbuf_free(&whose);
    if (s == r->first_bad) put_cause(out, "; %s", "cause", r);
    for (size_t i = 0; i < n; i++) lvlm_report_put(out, "; %s", sentences[i]);
    lvlm_strbuf_printf(out, "\" type=\"%s\">", lvlm_verdict_name(s->verdict));
    put_details(out, r, s);
    if (s == r->cause) put_cause(out, "%s\n", NULL, r);
    lvlm_strbuf_puts(out, "</failure>\n");
}

static void put_case(lvlm_strbuf *out, const lvlm_replay *r, const lvlm_replay_stage *s)
{
    const bool failed = !lvlm_verdict_passes(s->verdict);
    lvlm_report_put(out, "    <testcase classname=\"%s.%s\" name=\"%s\"", r->family,
                    lvlm_report_compute(r), s->name);
    lvlm_strbuf_puts(out, failed ? ">\n" : "/>\n");
    if (!failed) return;
    put_failure(out, r, s);
    lvlm_strbuf_puts(out, "    </testcase>\n");
}

/* ---- the document ---------------------------------------------------------------- */

void lvlm_report_junit_open(lvlm_strbuf *out, const lvlm_report_counts *n)
{
    lvlm_strbuf_printf(out,
                       "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                       "<testsuites tests=\"%zu\" failures=\"%zu\"",
                       n->tests, n->failures);
    if (n->errors > 0) lvlm_strbuf_printf(out, " errors=\"%zu\"", n->errors);
    lvlm_strbuf_puts(out, ">\n");
}

void lvlm_report_junit_close(lvlm_strbuf *out)
{
    lvlm_strbuf_puts(out, "</testsuites>\n");
}

void lvlm_report_junit_suite(lvlm_strbuf *out, const char *name,
                             const lvlm_report_counts *n)
{
    lvlm_strbuf_printf(out,
                       "  <testsuite name=\"%s\" tests=\"%zu\" failures=\"%zu\" "
                       "errors=\"%zu\" skipped=\"%zu\">\n",
                       name, n->tests, n->failures, n->errors, n->skipped);
}

void lvlm_report_junit_replay(lvlm_strbuf *out, const lvlm_replay *r)
{
    const lvlm_report_counts n = { r->n_stages, r->n_failed, 0, 0 };
    lvlm_report_junit_suite(out, "replay", &n);
    put_properties(out, r);
    for (size_t i = 0; i < r->n_stages; i++) put_case(out, r, &r->stages[i]);
    lvlm_strbuf_puts(out, "  </testsuite>\n");
}

void lvlm_report_junit_error(lvlm_strbuf *out, const char *model, const char *golden,
                             const lvlm_error *error)
{
    const lvlm_report_counts n = { 1, 0, 1, 0 };
    lvlm_report_junit_open(out, &n);
    lvlm_report_junit_suite(out, "replay", &n);
    lvlm_report_put(out,
                    "    <properties>\n" PROPERTY("lvlm") PROPERTY("model") PROPERTY(
                        "golden") "    </properties>\n"
                                  "    <testcase classname=\"replay\" name=\"run\">\n"
                                  "      <error message=\"%s\"/>\n    </testcase>\n"
                                  "  </testsuite>\n",
                    LVLM_VERSION, model, golden, error->text);
    lvlm_report_junit_close(out);
}

void lvlm_report_junit(lvlm_strbuf *out, const lvlm_replay *r)
{
    const lvlm_report_counts n = { r->n_stages, r->n_failed, 0, 0 };
    lvlm_report_junit_open(out, &n);
    lvlm_report_junit_replay(out, r);
    lvlm_report_junit_close(out);
}
