/* report_html.c - a replay as one self-contained HTML file.
 *
 *   verdict -> what was compared, and what was not -> chart -> stages -> second look
 *           -> logits -> worst rows -> versions, digests
 *
 * No script, no outside reference, no time: two runs give equal bytes. */
#include "verify/report/report.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/version.h"
#include "verify/report/report_parts.h"
#include "verify/report/report_words.h"

static bool is_passed(const lvlm_replay *r)
{
    return r->first_bad == NULL && r->n_stages > 0;
}

/* ---- verdict -------------------------------------------------------------------- */

void lvlm_report_badge(lvlm_strbuf *out, bool ok, const char *word, const char *of)
{
    lvlm_strbuf_printf(
        out,
        "<header>\n<svg class=\"badge %s\" viewBox=\"0 0 44 44\" role=\"img\" "
        "aria-label=\"%s\"><circle cx=\"22\" cy=\"22\" r=\"22\"/><path d=\"%s\"/>"
        "</svg>\n<p class=\"word %s\">%s",
        ok ? "ok" : "bad", ok ? "passed" : "failed",
        ok ? "M13 23l6.5 6.5L31.5 16" : "M15 15l14 14m0-14l-14 14", ok ? "ok" : "bad",
        word);
    if (of != NULL) lvlm_report_put(out, ": <span class=\"of name\">%s</span>", of);
    lvlm_strbuf_puts(out, "</p>\n");
}

/* The stage that is closest to leaving its band; NULL: every value is equal. */
static const lvlm_replay_stage *closest(const lvlm_replay *r)
{
    const lvlm_replay_stage *best = NULL;
    for (size_t i = 0; i < r->n_stages; i++) {
        const lvlm_replay_stage *s = &r->stages[i];
        if (!(s->error > 0) || !(s->band > 0) || s->verdict == LVLM_VERDICT_ROUNDING)
            continue;
        if (best == NULL || s->error / s->band > best->error / best->band) best = s;
    }
    return best;
}

static void put_success(lvlm_strbuf *out, const lvlm_replay *r)
{
    assert(r->n_stages > 0 && r->first_bad == NULL);
    const lvlm_replay_stage *s = closest(r);
    const size_t n_rounding = lvlm_report_count(r, LVLM_VERDICT_ROUNDING);
    char error[LVLM_ERROR_TEXT], band[LVLM_ERROR_TEXT];
    if (lvlm_report_is_exact(r))
        lvlm_strbuf_printf(out, "<h1>Exact: all %zu stages agree in double</h1>\n",
                           r->n_stages);
    else if (r->n_stages == 1)
        lvlm_strbuf_puts(out,
                         "<h1>Parity holds: the one stage is within its band</h1>\n");
    else if (n_rounding > 0)
        lvlm_strbuf_printf(out,
                           "<h1>Parity holds: %zu of %zu stages within their bands, "
                           "%zu beyond by rounding</h1>\n",
                           r->n_stages - n_rounding, r->n_stages, n_rounding);
    else
        lvlm_strbuf_printf(out,
                           "<h1>Parity holds: all %zu stages within their bands</h1>\n",
                           r->n_stages);
    lvlm_strbuf_puts(out, "<p class=\"why\">");
    if (s == NULL) {
        lvlm_strbuf_puts(out, n_rounding > 0
                                  ? "See the second look below.</p>\n"
                                  : "Every value equals the recorded one.</p>\n");
        return;
    }
    lvlm_report_put(
        out,
        "Closest to the edge of its band: " LVLM_REPORT_NAME ", error %s of %s.</p>\n",
        s->name, lvlm_report_error(error, s->error), lvlm_report_band(band, s->band));
}

static void put_measure(lvlm_strbuf *out, const lvlm_replay *r)
{
    char verdict[LVLM_VERDICT_TEXT];
    lvlm_report_put(out,
                    "<h1>How far %s is from double</h1>\n<p class=\"why\">%s</p>\n",
                    lvlm_report_compute(r), lvlm_report_verdict(verdict, r));
}

/* Mistakes that explain the failure. */
static void put_explanations(lvlm_strbuf *out, const lvlm_replay *r)
{
    char text[LVLM_CAUSE_TEXT];
    const char *kind, *sentence;
    for (size_t i = 0; (sentence = lvlm_report_cause(text, &kind, r, i)) != NULL; i++)
        if (strcmp(kind, "cause") == 0)
            lvlm_report_put(out, "<p class=\"why mismatch\">%s.</p>\n", sentence);
}

static void put_failure(lvlm_strbuf *out, const lvlm_replay *r)
{
    static const char *const what[] = {
        [LVLM_VERDICT_OUT] = "out of band",
        [LVLM_VERDICT_MISSING] = "missing",
        [LVLM_VERDICT_SHAPE] = "in another shape",
        [LVLM_VERDICT_VACUOUS] = "vacuous",
    };
    char times[LVLM_TIMES_TEXT];
    const lvlm_replay_stage *s = r->first_bad;
    assert(s != NULL && !lvlm_verdict_passes(s->verdict));
    const size_t before = (size_t)(s - r->stages);
    lvlm_report_put(out,
                    "<h1>First stage %s: <span class=\"name bad\">%s</span></h1>\n"
                    "<p class=\"why\">There: ",
                    what[s->verdict], s->name);
    lvlm_report_reason(out, s);
    lvlm_report_times(times, s, "\u202f");
    if (times[0] != '\0') lvlm_strbuf_printf(out, " (%s times)", times);
    lvlm_strbuf_printf(out, ". %zu of %zu stages %s", r->n_failed, r->n_stages,
                       r->n_failed == 1 ? "fails" : "fail");
    if (before == 1)
        lvlm_strbuf_puts(out, "; the one before it is within its band");
    else if (before > 1)
        lvlm_strbuf_printf(out, "; the %zu before it are within their bands", before);
    lvlm_strbuf_puts(out, ".</p>\n");
    lvlm_strbuf whose = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    lvlm_report_whose(&whose, r);
    out->failed |= whose.failed;
    if (whose.length > 0)
        lvlm_report_put(out, "<p class=\"why mismatch\">%s.</p>\n", whose.text);
    lvlm_strbuf_free(&whose);
    put_explanations(out, r);
}

/* Possible causes. */
static void put_mismatches(lvlm_strbuf *out, const lvlm_replay *r)
{
    lvlm_mismatch sentences[LVLM_MISMATCHES];
    const size_t n = lvlm_report_mismatches(sentences, r);
    for (size_t i = 0; i < n; i++)
        lvlm_report_put(out, "<p class=\"why mismatch\">%s.</p>\n", sentences[i]);
}

static void put_verdict(lvlm_strbuf *out, const lvlm_replay *r)
{
    lvlm_report_badge(out, is_passed(r),
                      r->is_measure  ? "Precision"
                      : is_passed(r) ? "✓ Replay passed"
                                     : "✗ Replay failed",
                      lvlm_path_base(r->golden));
    if (r->n_stages == 0)
        lvlm_strbuf_puts(out, "<h1>Nothing was compared: no stage is recorded</h1>\n");
    else if (r->first_bad == NULL && r->is_measure)
        put_measure(out, r);
    else if (r->first_bad == NULL)
        put_success(out, r);
    else
        put_failure(out, r);
    put_mismatches(out, r);
    lvlm_strbuf_puts(out, "</header>\n");
}

/* ---- what was compared ---------------------------------------------------------- */

/* Rows of a list. */
#define PAIR "<dt>%s</dt><dd>%s</dd>\n"
#define MONO_PAIR "<dt>%s</dt><dd class=\"mono\">%s</dd>\n"

/* A sentence per difference. */
static void put_differences(lvlm_strbuf *out, const char *heading,
                            const lvlm_difference *const *list, size_t n)
{
    lvlm_strbuf_printf(out, "<dt>%s</dt><dd>", heading);
    lvlm_strbuf_puts(out, n == 0 ? "nothing" : "<ul>\n");
    for (size_t i = 0; i < n; i++)
        lvlm_report_put(out,
                        "<li>" LVLM_REPORT_NAME ", seen from " LVLM_REPORT_NAME
                        " on: %s</li>\n",
                        lvlm_difference_name(list[i]), list[i]->stage, list[i]->what);
    lvlm_strbuf_puts(out, n == 0 ? "</dd>\n" : "</ul></dd>\n");
}

static const char *precision_of(const lvlm_replay *r)
{
    switch (r->compute) {
    case LVLM_COMPUTE_F64: return "f64, double precision throughout";
    case LVLM_COMPUTE_BF16X2:
        return "bf16x2, single precision, operands of products rounded to 16 bits";
    case LVLM_COMPUTE_BF16:
        return "bf16, single precision, operands of products rounded to bf16";
    default: return "f32, single precision";
    }
}

static void put_subject(lvlm_strbuf *out, const lvlm_replay *r)
{
    lvlm_strbuf_puts(out, "<h2>What was compared</h2>\n<div class=\"panel\"><dl>\n");
    lvlm_report_put(out, MONO_PAIR MONO_PAIR PAIR PAIR PAIR, "model", r->model,
                    r->is_measure ? "inputs" : "golden", r->golden, "family", r->family,
                    "precision", precision_of(r), "behaviour computed", r->reference);
    put_differences(out, "differs from trained in", r->differences, r->n_differences);
    if (r->n_from_recorded > 0 && !r->is_measure &&
        strcmp(r->recording.reference, LVLM_REFERENCE_TRAINED) != 0)
        put_differences(out, "differs from the recording in", r->from_recorded,
                        r->n_from_recorded);
    lvlm_strbuf_puts(out, "</dl></div>\n");
}

/* ---- what was not --------------------------------------------------------------- */

static void put_notes(lvlm_strbuf *out, const char *heading, const lvlm_notes *notes)
{
    if (notes->n == 0) return;
    lvlm_strbuf_printf(out, "<dt>%s</dt><dd><ul>\n", heading);
    for (size_t i = 0; i < notes->n; i++)
        lvlm_report_put(out, "<li>%s</li>\n", notes->at[i]);
    lvlm_strbuf_puts(out, "</ul></dd>\n");
}

static void put_unproven(lvlm_strbuf *out, const lvlm_replay *r)
{
    if (r->not_compared.n + r->not_exercised.n == 0) return;
    lvlm_strbuf_puts(out, "<h2>What this leaves unproven</h2>\n"
                          "<div class=\"panel\"><dl>\n");
    put_notes(out, "not compared", &r->not_compared);
    put_notes(out, "not exercised by the inputs", &r->not_exercised);
    lvlm_strbuf_puts(out, "</dl></div>\n");
}

/* ---- versions and digests ------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
    return strcmp((*(const cJSON *const *)a)->string,
                  (*(const cJSON *const *)b)->string);
}

static void put_metadata(lvlm_strbuf *out, const cJSON *metadata)
{
    const cJSON *item;
    size_t n = 0;
    LVLM_JSON_MEMBERS (item, metadata) n += lvlm_json_string(item) != NULL;
    if (n == 0) return;
    const cJSON **sorted = lvlm_calloc(n, sizeof *sorted);
    if (sorted == NULL) {
        out->failed = true;
        return;
    }
    n = 0;
    LVLM_JSON_MEMBERS (item, metadata) {
        if (lvlm_json_string(item) != NULL) sorted[n++] = item;
    }
    qsort(sorted, n, sizeof *sorted, by_key);
    for (size_t i = 0; i < n; i++)
        lvlm_report_put(out, PAIR, sorted[i]->string, lvlm_json_string(sorted[i]));
    lvlm_free(sorted);
}

static void put_provenance(lvlm_strbuf *out, const lvlm_replay *r)
{
    lvlm_strbuf_puts(out, "<h2>Versions</h2>\n<p class=\"note\">This program, and what "
                          "the golden says about its making.</p>\n"
                          "<div class=\"panel\"><dl>\n");
    lvlm_report_put(out, PAIR, "lvlm", LVLM_VERSION);
    put_metadata(out, r->recording.metadata);
    lvlm_report_put(
        out,
        "</dl></div>\n<h2>Digests</h2>\n<div class=\"panel\"><dl>\n" MONO_PAIR MONO_PAIR
        "</dl></div>\n",
        "model, root digest",
        r->model_root[0] != '\0' ? r->model_root : "none recorded", "golden, SHA-256",
        r->recording.sha256[0] != '\0' ? r->recording.sha256 : "none");
}

/* ---- page ----------------------------------------------------------------------- */

void lvlm_report_page_open(lvlm_strbuf *out, const char *verdict, const char *model)
{
    lvlm_report_put(out,
                    "<!DOCTYPE html>\n<html lang=\"en\"><head>"
                    "<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
                    "content=\"width=device-width,initial-scale=1\">\n"
                    "<title>%s: %s</title>\n<style>\n",
                    verdict, model);
    lvlm_strbuf_puts(out, lvlm_report_style);
    lvlm_strbuf_puts(out, "</style></head>\n<body>\n");
}

void lvlm_report_page_close(lvlm_strbuf *out)
{
    lvlm_strbuf_puts(out, "</body></html>\n");
}

void lvlm_report_replay(lvlm_strbuf *out, const lvlm_replay *r)
{
    put_verdict(out, r);
    put_subject(out, r);
    put_unproven(out, r);
    if (r->n_stages > 0) {
        lvlm_strbuf_puts(out,
                         "<h2>Error along the depth</h2>\n<p class=\"note\">Error "
                         "of each stage, logarithmic, in order of computation.</p>\n"
                         "<div class=\"panel\">\n");
        lvlm_report_chart(out, r);
        lvlm_strbuf_puts(out, "</div>\n");
        lvlm_report_stages(out, r);
    }
    lvlm_report_details(out, r);
    put_provenance(out, r);
}

void lvlm_report_html(lvlm_strbuf *out, const lvlm_replay *r)
{
    lvlm_report_page_open(out,
                          r->is_measure  ? "Precision"
                          : is_passed(r) ? "Parity holds"
                                         : "Out of parity",
                          r->model);
    lvlm_report_replay(out, r);
    lvlm_report_page_close(out);
}
