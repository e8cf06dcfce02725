/* report_html.c - a replay as one HTML file that needs nothing else.
 *
 *   verdict -> what was compared -> chart -> stages -> logits -> worst rows
 *           -> versions, digests
 *
 * No script, no outside reference, no time: two runs give equal bytes. */
#include "verify/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/version.h"
#include "verify/report_chart.h"
#include "verify/report_markup.h"
#include "verify/report_words.h"

// clang-format off
static const char page_style[] =
    ":root{color-scheme:light dark;--ink:#1b2129;--soft:#5b6672;--line:#e2e6eb;\n"
    "--page:#fff;--panel:#f8f9fb;--ok:#17743f;--bad:#b8261d;--mark:#2a66d1;\n"
    "--wash:#fdf3f2}\n"
    "@media screen and (prefers-color-scheme:dark){:root{--ink:#e7eaee;\n"
    "--soft:#9ba6b2;--line:#2e363f;--page:#13171c;--panel:#1a1f26;--ok:#55c98c;\n"
    "--bad:#ff8178;--mark:#7fabff;--wash:#2a1c1e}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;max-width:1080px;padding:clamp(20px,4vw,52px) clamp(16px,4vw,\n"
    "40px) 64px;background:var(--page);color:var(--ink);font:15px/1.55 system-ui,\n"
    "-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",Arial,sans-serif;\n"
    "-webkit-text-size-adjust:100%}\n"
    "h1{font-size:clamp(21px,3.4vw,28px);line-height:1.25;margin:0;font-weight:650;\n"
    "letter-spacing:-.012em;overflow-wrap:anywhere;text-wrap:balance}\n"
    "h2{font-size:17px;margin:44px 0 2px;font-weight:620}\n"
    "p{margin:0}.note{color:var(--soft);margin-bottom:12px}\n"
    "header{display:grid;grid-template-columns:44px 1fr;gap:2px 18px}\n"
    ".badge{width:44px;height:44px;grid-row:span 2}.badge circle{fill:currentColor}\n"
    ".badge path{fill:none;stroke:var(--page);stroke-width:3.2;\n"
    "stroke-linecap:round;stroke-linejoin:round}\n"
    ".word{grid-column:2;font-size:12.5px;font-weight:650;letter-spacing:.09em;\n"
    "text-transform:uppercase}.word+h1{grid-column:2}\n"
    ".why{grid-column:2;color:var(--soft);margin-top:6px}\n"
    ".ok{color:var(--ok)}.bad{color:var(--bad)}.soft{color:var(--soft)}\n"
    ".name{unicode-bidi:isolate}\n"
    ".panel{background:var(--panel);border:1px solid var(--line);border-radius:12px;\n"
    "padding:14px 18px;margin-top:12px}.scroll{overflow-x:auto}\n"
    "table{border-collapse:collapse;width:100%;font-size:14px;\n"
    "font-variant-numeric:tabular-nums lining-nums}\n"
    "th{font-weight:600;color:var(--soft);font-size:12.5px;text-align:left}\n"
    "th,td{padding:6px 0 6px 20px;border-bottom:1px solid var(--line);\n"
    "white-space:nowrap;vertical-align:top}\n"
    "th:first-child,td:first-child{padding-left:10px}\n"
    "th:last-child,td:last-child{padding-right:10px}\n"
    "tbody tr:last-child td{border-bottom:0}\n"
    ".n{text-align:right}td.name{min-width:11em;white-space:normal;\n"
    "overflow-wrap:anywhere}\n"
    ".stages td:first-child,.stages th:first-child{position:sticky;left:0;\n"
    "background:var(--page)}\n"
    ".stages tr.bad td{background:var(--wash);color:var(--ink)}\n"
    "tr.bad td.name{font-weight:650;box-shadow:inset 3px 0 var(--bad)}\n"
    ".verdict{text-transform:lowercase;font-weight:600}\n"
    ".why-not{display:block;white-space:normal;width:16em;font-size:12.5px;\n"
    "color:var(--soft)}.narrow{width:auto}\n"
    "dl{display:grid;grid-template-columns:12em 1fr;\n"
    "gap:5px 24px;margin:0}dt{color:var(--soft);overflow-wrap:anywhere}\n"
    "dd{margin:0;overflow-wrap:anywhere;unicode-bidi:isolate}\n"
    ".mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,\"Liberation Mono\",\n"
    "monospace;font-size:13px;line-height:1.75}\n"
    "@media(max-width:620px){dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:8px}\n"
    "header{grid-template-columns:34px 1fr;column-gap:13px}\n"
    ".badge{width:34px;height:34px}.panel{padding:12px;border-radius:10px}}\n"
    "@media print{body{padding:0;max-width:none;font-size:12px}.panel{border-width:0;\n"
    "border-radius:0;padding:0;background:none}table{font-size:11px}\n"
    "th,td{padding-left:10px}h2{margin-top:24px;break-after:avoid}\n"
    "tr,dd{break-inside:avoid}thead{display:table-header-group}\n"
    "*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}\n";

static const char chart_style[] =
    ".chart{display:block;width:100%;min-width:720px;height:auto}\n"
    ".grid{stroke:var(--line)}.lane{stroke:var(--line);stroke-dasharray:1 4;\n"
    "stroke-linecap:round;stroke-width:2}\n"
    "text{fill:var(--soft);font:12.5px system-ui,-apple-system,\"Segoe UI\",Roboto,\n"
    "Arial,sans-serif;font-variant-numeric:tabular-nums}.power{font-size:9.5px}\n"
    ".tick{font-size:11px}.label{font-size:13px;font-weight:600}\n"
    ".part{stroke:var(--soft);stroke-width:1.5;opacity:.45}\n"
    ".tint{fill:var(--bad);opacity:.045}.band{fill:none;stroke:var(--bad);\n"
    "stroke-width:1.4;stroke-dasharray:6 4;opacity:.85}\n"
    ".band-label,.callout{paint-order:stroke;stroke:var(--panel);stroke-width:4px;\n"
    "stroke-linejoin:round;fill:var(--bad)}.band-label{font-size:12px}\n"
    ".callout{font-weight:650;font-size:13px}\n"
    ".trace{fill:none;stroke:var(--mark);opacity:.32;stroke-width:1.5}\n"
    ".dot{fill:var(--mark)}.exact{fill:var(--panel);stroke:var(--mark);\n"
    "stroke-width:1.5}.cross{fill:none;stroke:var(--bad);stroke-width:2.4;\n"
    "stroke-linecap:round}.hit{fill:var(--ink);opacity:0}\n"
    ".point:hover .hit{opacity:.07}\n"
    ".legend{display:flex;flex-wrap:wrap;gap:4px 22px;margin-top:8px;font-size:13px;\n"
    "color:var(--soft)}.legend span{display:inline-flex;align-items:center;gap:7px}\n"
    ".key{width:16px;height:16px;flex:none}\n"
    "@media print{.scroll{overflow:visible}.chart{min-width:0;break-inside:avoid}}\n";
// clang-format on

static bool is_passed(const lvlm_replay *r)
{
    return r->first_bad == NULL && r->n_stages > 0;
}

static void put_name(lvlm_strbuf *out, const char *name)
{
    lvlm_strbuf_puts(out, "<span class=\"name\">");
    lvlm_report_escape(out, name);
    lvlm_strbuf_puts(out, "</span>");
}

/* ---- verdict -------------------------------------------------------------------- */

static void put_badge(lvlm_strbuf *out, bool ok, bool measure)
{
    lvlm_strbuf_printf(
        out,
        "<header>\n<svg class=\"badge %s\" viewBox=\"0 0 44 44\" role=\"img\" "
        "aria-label=\"%s\"><circle cx=\"22\" cy=\"22\" r=\"22\"/><path d=\"%s\"/>"
        "</svg>\n<p class=\"word %s\">%s</p>\n",
        ok ? "ok" : "bad", ok ? "passed" : "failed",
        ok ? "M13 23l6.5 6.5L31.5 16" : "M15 15l14 14m0-14l-14 14", ok ? "ok" : "bad",
        measure ? "Precision"
        : ok    ? "✓ Replay passed"
                : "✗ Replay failed");
}

/* The stage that is closest to leaving its band; NULL: every value is equal. */
static const lvlm_replay_stage *closest(const lvlm_replay *r)
{
    const lvlm_replay_stage *best = NULL;
    for (size_t i = 0; i < r->n_stages; i++) {
        const lvlm_replay_stage *s = &r->stages[i];
        if (!(s->error > 0) || !(s->band > 0)) continue;
        if (best == NULL || s->error / s->band > best->error / best->band) best = s;
    }
    return best;
}

static void put_success(lvlm_strbuf *out, const lvlm_replay *r)
{
    const lvlm_replay_stage *s = closest(r);
    char error[LVLM_ERROR_TEXT], band[LVLM_ERROR_TEXT];
    if (lvlm_report_is_exact(r))
        lvlm_strbuf_printf(out,
                           "<h1>Exact: all %zu stages agree in double</h1>\n"
                           "<p class=\"why\">",
                           r->n_stages);
    else if (r->n_stages == 1)
        lvlm_strbuf_puts(out,
                         "<h1>Parity holds: the one stage is within its band</h1>\n"
                         "<p class=\"why\">");
    else
        lvlm_strbuf_printf(out,
                           "<h1>Parity holds: all %zu stages within their bands</h1>\n"
                           "<p class=\"why\">",
                           r->n_stages);
    if (s == NULL) {
        lvlm_strbuf_puts(out, "Every value equals the recorded one.</p>\n");
        return;
    }
    lvlm_strbuf_puts(out, "Closest to the edge of its band: ");
    put_name(out, s->name);
    lvlm_strbuf_printf(out, ", error %s of %s.</p>\n",
                       lvlm_report_error(error, s->error),
                       lvlm_report_band(band, s->band));
}

static void put_measure(lvlm_strbuf *out, const lvlm_replay *r)
{
    char verdict[LVLM_VERDICT_TEXT];
    lvlm_strbuf_puts(out, "<h1>How far f32 is from double</h1>\n<p class=\"why\">");
    lvlm_report_escape(out, lvlm_report_verdict(verdict, r));
    lvlm_strbuf_puts(out, "</p>\n");
}

/* How many times over the band, where that says something. */
static void put_excess(lvlm_strbuf *out, const lvlm_replay_stage *s)
{
    const double times = s->error / s->band;
    if (s->verdict == LVLM_VERDICT_OUT && isfinite(times) && times >= 1.05)
        lvlm_strbuf_printf(out, times < 1e4 ? " (%.3g times)" : " (%.0e times)", times);
}

static void put_failure(lvlm_strbuf *out, const lvlm_replay *r)
{
    static const char *const what[] = {
        [LVLM_VERDICT_OUT] = "out of band",
        [LVLM_VERDICT_MISSING] = "missing",
        [LVLM_VERDICT_SHAPE] = "in another shape",
    };
    const lvlm_replay_stage *s = r->first_bad;
    const size_t before = (size_t)(s - r->stages);
    lvlm_strbuf_printf(out, "<h1>First stage %s: <span class=\"name bad\">",
                       what[s->verdict]);
    lvlm_report_escape(out, s->name);
    lvlm_strbuf_puts(out, "</span></h1>\n<p class=\"why\">There: ");
    lvlm_report_reason(out, s);
    put_excess(out, s);
    lvlm_strbuf_printf(out, ". %zu of %zu stages %s", r->n_failed, r->n_stages,
                       r->n_failed == 1 ? "fails" : "fail");
    if (before == 1)
        lvlm_strbuf_puts(out, "; the one before it is within its band");
    else if (before > 1)
        lvlm_strbuf_printf(out, "; the %zu before it are within their bands", before);
    lvlm_strbuf_puts(out, ".</p>\n");
}

static void put_verdict(lvlm_strbuf *out, const lvlm_replay *r)
{
    put_badge(out, is_passed(r), r->is_measure);
    if (r->n_stages == 0)
        lvlm_strbuf_puts(out, "<h1>Nothing was compared: no stage is recorded</h1>\n");
    else if (r->first_bad == NULL && r->is_measure)
        put_measure(out, r);
    else if (r->first_bad == NULL)
        put_success(out, r);
    else
        put_failure(out, r);
    lvlm_strbuf_puts(out, "</header>\n");
}

/* ---- what was compared ---------------------------------------------------------- */

static void put_pair(lvlm_strbuf *out, const char *name, const char *class,
                     const char *value)
{
    lvlm_strbuf_puts(out, "<dt>");
    lvlm_report_escape(out, name);
    lvlm_strbuf_printf(out, "</dt><dd%s>", class);
    lvlm_report_escape(out, value);
    lvlm_strbuf_puts(out, "</dd>\n");
}

static void put_differences(lvlm_strbuf *out, const lvlm_replay *r)
{
    lvlm_strbuf_puts(out, "<dt>differs from trained in</dt><dd>");
    if (r->n_differences == 0) lvlm_strbuf_puts(out, "nothing");
    for (size_t i = 0; i < r->n_differences; i++) {
        lvlm_strbuf_puts(out, i > 0 ? ", " : "");
        put_name(out, r->differences[i]);
    }
    lvlm_strbuf_puts(out, "</dd>\n");
}

static void put_subject(lvlm_strbuf *out, const lvlm_replay *r)
{
    lvlm_strbuf_puts(out, "<h2>What was compared</h2>\n<div class=\"panel\"><dl>\n");
    put_pair(out, "model", " class=\"mono\"", r->model);
    put_pair(out, r->is_measure ? "inputs" : "golden", " class=\"mono\"", r->golden);
    put_pair(out, "family", "", r->family);
    put_pair(out, "precision", "",
             r->compute == LVLM_COMPUTE_F64 ? "f64, double precision throughout"
                                            : "f32, single precision");
    put_pair(out, "behaviour computed", "", r->reference);
    put_differences(out, r);
    lvlm_strbuf_puts(out, "</dl></div>\n");
}

/* ---- stages --------------------------------------------------------------------- */

static void put_numbers(lvlm_strbuf *out, const lvlm_replay_stage *s)
{
    char l2[LVLM_ERROR_TEXT], max_abs[LVLM_ERROR_TEXT];
    if (!lvlm_verdict_compared(s->verdict)) {
        for (int i = 0; i < 4; i++)
            lvlm_strbuf_puts(out, "<td class=\"n soft\">–</td>");
        return;
    }
    lvlm_strbuf_printf(out, "<td class=\"n\">%s</td>", lvlm_report_error(l2, s->error));
    lvlm_strbuf_printf(out, "<td class=\"n\">%s</td><td class=\"n\">%s</td>",
                       lvlm_report_error(l2, s->relative_l2),
                       lvlm_report_error(max_abs, s->found.distance.max_abs));
    if (isfinite(s->cosine))
        lvlm_strbuf_printf(out, "<td class=\"n\">%.9f</td>", s->cosine);
    else
        lvlm_strbuf_puts(out, "<td class=\"n\">nan</td>");
}

static void put_stage(lvlm_strbuf *out, const lvlm_replay *r,
                      const lvlm_replay_stage *s)
{
    char figures[LVLM_LOOK_TEXT];
    char shape[LVLM_SHAPE_TEXT], band[LVLM_ERROR_TEXT];
    const bool ok = lvlm_verdict_passes(s->verdict);
    lvlm_strbuf_printf(out, "<tr%s><td class=\"name\">", ok ? "" : " class=\"bad\"");
    lvlm_report_escape(out, s->name);
    lvlm_strbuf_printf(out, "</td><td class=\"soft\">%s</td>",
                       lvlm_shape_text(shape, &s->shape));
    put_numbers(out, s);
    lvlm_strbuf_printf(out,
                       "<td class=\"n soft\">%s</td><td><span class=\"verdict %s\">%s "
                       "%s</span>",
                       r->is_measure ? "–" : lvlm_report_band(band, s->band),
                       ok ? "ok" : "bad", ok ? "✓" : "✗",
                       lvlm_verdict_name(s->verdict));
    if (s->verdict == LVLM_VERDICT_SHAPE)
        lvlm_strbuf_printf(out, "<span class=\"why-not\">computed in %s</span>",
                           lvlm_shape_text(shape, &s->got));
    else if (s->looked_again)
        lvlm_strbuf_printf(out, "<span class=\"why-not\">%s</span>",
                           lvlm_report_look(figures, r, s));
    else if (!ok && (s->error <= s->band || s->found.distance.n_bad > 0)) {
        lvlm_strbuf_puts(out, "<span class=\"why-not\">");
        lvlm_report_reason(out, s);
        lvlm_strbuf_puts(out, "</span>");
    }
    lvlm_strbuf_puts(out, "</td></tr>\n");
}

static void put_stages(lvlm_strbuf *out, const lvlm_replay *r)
{
    lvlm_strbuf_puts(
        out,
        "<h2>Stages</h2>\n<p class=\"note\">In order of computation. The "
        "error is the root mean square over rows of the relative L2 of "
        "each; rows of padding are not compared.</p>\n<div class=\"scroll\"><table "
        "class=\"stages\">\n<thead><tr><th>stage</th><th>shape</th>"
        "<th class=\"n\">error</th><th class=\"n\">relative L2</th>"
        "<th class=\"n\">max abs</th>"
        "<th class=\"n\">cosine</th><th class=\"n\">band</th>"
        "<th>verdict</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < r->n_stages; i++) put_stage(out, r, &r->stages[i]);
    lvlm_strbuf_puts(out, "</tbody></table></div>\n");
}

/* ---- logits --------------------------------------------------------------------- */

static const lvlm_replay_stage *find_logits(const lvlm_replay *r)
{
    for (size_t i = 0; i < r->n_stages; i++)
        if (r->stages[i].is_logits && lvlm_verdict_compared(r->stages[i].verdict))
            return &r->stages[i];
    return NULL;
}

static void put_logits(lvlm_strbuf *out, const lvlm_replay *r)
{
    const lvlm_replay_stage *s = find_logits(r);
    char kl[LVLM_ERROR_TEXT], band[LVLM_ERROR_TEXT];
    if (s == NULL || s->found.n_rows == 0) return;
    const bool ok = s->found.max_kl <= s->band_kl;
    lvlm_strbuf_printf(out,
                       "<h2>Logits</h2>\n<div class=\"panel\"><dl>\n"
                       "<dt>largest KL of a row</dt><dd>%s",
                       lvlm_report_error(kl, s->found.max_kl));
    if (!r->is_measure)
        lvlm_strbuf_printf(out, " <span class=\"%s\">%s the band %s</span>",
                           ok ? "ok" : "bad", ok ? "✓ within" : "✗ over",
                           lvlm_report_band(band, s->band_kl));
    lvlm_strbuf_puts(out, "</dd>\n");
    lvlm_strbuf_printf(out,
                       "<dt>top-1 agreement</dt><dd>%" PRIu64 " of %" PRIu64
                       " rows</dd>\n</dl></div>\n",
                       s->found.n_top1, s->found.n_rows);
}

/* ---- worst rows ----------------------------------------------------------------- */

/* The stage whose rows are worth a look: the first bad one that has any, else the
 * logits. */
static const lvlm_replay_stage *find_interesting(const lvlm_replay *r)
{
    for (size_t i = 0; i < r->n_stages; i++) {
        const lvlm_replay_stage *s = &r->stages[i];
        if (s->verdict == LVLM_VERDICT_OUT && s->found.n_worst > 0 && s->shape.n >= 2)
            return s;
    }
    return find_logits(r);
}

static void put_row(lvlm_strbuf *out, const lvlm_replay_stage *s,
                    const lvlm_worst_row *row)
{
    char error[LVLM_ERROR_TEXT], place[LVLM_SHAPE_TEXT];
    lvlm_strbuf_printf(out, "<tr><td>%s</td><td class=\"n\">",
                       lvlm_report_row(place, s, row));
    if (row->token >= 0)
        lvlm_strbuf_printf(out, "%" PRId64, row->token);
    else
        lvlm_strbuf_puts(out, "–");
    lvlm_strbuf_printf(out, "</td><td class=\"n\">%s</td></tr>\n",
                       lvlm_report_error(error, row->error));
}

static void put_worst(lvlm_strbuf *out, const lvlm_replay *r)
{
    const lvlm_replay_stage *s = find_interesting(r);
    if (s == NULL || s->found.n_worst == 0) return;
    const bool is_text = s->is_logits || strncmp(s->name, "text.", 5) == 0;
    lvlm_strbuf_printf(out, "<h2>Worst %s of ", is_text ? "tokens" : "rows");
    put_name(out, s->name);
    lvlm_strbuf_printf(out,
                       "</h2>\n<div class=\"scroll\"><table class=\"narrow\">\n"
                       "<thead><tr><th>%s</th><th class=\"n\">input id</th>"
                       "<th class=\"n\">relative L2</th></tr></thead>\n<tbody>\n",
                       is_text ? "[text, token]" : "[image, patch]");
    for (size_t i = 0; i < s->found.n_worst; i++) put_row(out, s, &s->found.worst[i]);
    lvlm_strbuf_puts(out, "</tbody></table></div>\n");
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
        put_pair(out, sorted[i]->string, "", lvlm_json_string(sorted[i]));
    lvlm_free(sorted);
}

static void put_provenance(lvlm_strbuf *out, const lvlm_replay *r)
{
    lvlm_strbuf_puts(out, "<h2>Versions</h2>\n<p class=\"note\">This program, and what "
                          "the golden says about its making.</p>\n"
                          "<div class=\"panel\"><dl>\n");
    put_pair(out, "lvlm", "", LVLM_VERSION);
    put_metadata(out, r->recording.metadata);
    lvlm_strbuf_puts(out, "</dl></div>\n<h2>Digests</h2>\n<div class=\"panel\"><dl>\n");
    put_pair(out, "model, root digest", " class=\"mono\"",
             r->model_root[0] != '\0' ? r->model_root : "none recorded");
    put_pair(out, "golden, SHA-256", " class=\"mono\"",
             r->recording.sha256[0] != '\0' ? r->recording.sha256 : "none");
    lvlm_strbuf_puts(out, "</dl></div>\n");
}

/* ---- page ----------------------------------------------------------------------- */

static void put_head(lvlm_strbuf *out, const lvlm_replay *r)
{
    lvlm_strbuf_printf(out,
                       "<!DOCTYPE html>\n<html lang=\"en\"><head>"
                       "<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
                       "content=\"width=device-width,initial-scale=1\">\n<title>%s: ",
                       r->is_measure  ? "Precision"
                       : is_passed(r) ? "Parity holds"
                                      : "Out of parity");
    lvlm_report_escape(out, r->model);
    lvlm_strbuf_puts(out, "</title>\n<style>\n");
    lvlm_strbuf_puts(out, page_style);
    lvlm_strbuf_puts(out, chart_style);
    lvlm_strbuf_puts(out, "</style></head>\n<body>\n");
}

void lvlm_report_html(lvlm_strbuf *out, const lvlm_replay *r)
{
    put_head(out, r);
    put_verdict(out, r);
    put_subject(out, r);
    if (r->n_stages > 0) {
        lvlm_strbuf_puts(out,
                         "<h2>Error along the depth</h2>\n<p class=\"note\">Error "
                         "of each stage, logarithmic, in order of computation.</p>\n"
                         "<div class=\"panel\">\n");
        lvlm_report_chart(out, r);
        lvlm_strbuf_puts(out, "</div>\n");
        put_stages(out, r);
    }
    put_logits(out, r);
    put_worst(out, r);
    put_provenance(out, r);
    lvlm_strbuf_puts(out, "</body></html>\n");
}
