/* report_html.c - a replay as one HTML file that needs nothing else.
 *
 *   verdict -> what was compared -> chart -> stages -> worst rows -> versions, digests
 *
 * No script, no outside reference, no time: two runs give equal bytes. */
#include <inttypes.h>
#include <string.h>

#include "formats/base/json.h"
#include "verify/report.h"
#include "verify/report_chart.h"

static const char style[] =
    ":root{--ink:#1d2329;--soft:#66707a;--line:#e1e5e9;--page:#fff;--panel:#f6f8f9;"
    "--ok:#1a7f4b;--bad:#c0332b;--mark:#2d6cdf}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa4ae;--line:#"
    "333b43;"
    "--page:#14181c;--panel:#1c2227;--ok:#4fc98a;--bad:#ff7b72;--mark:#7aa7ff}}\n"
    "*{box-sizing:border-box}body{margin:0 auto;max-width:1020px;padding:40px 24px "
    "64px;"
    "background:var(--page);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"
    "\"Segoe UI\",Roboto,sans-serif}\n"
    "h1{font-size:26px;line-height:1.25;margin:0 0 6px;font-weight:650}"
    "h2{font-size:17px;margin:40px 0 10px;font-weight:600}p{margin:4px 0}\n"
    ".ok{color:var(--ok)}.bad{color:var(--bad)}.soft{color:var(--soft)}\n"
    ".panel{background:var(--panel);border:1px solid var(--line);border-radius:10px;"
    "padding:14px 16px;overflow-x:auto}svg{display:block;width:100%;min-width:560px;"
    "height:auto}\n"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
    "th{font-weight:600;color:var(--soft);font-size:13px;text-align:left}"
    "th,td{padding:5px 12px 5px 0;border-bottom:1px solid "
    "var(--line);white-space:nowrap}"
    "tr:last-child td{border-bottom:0}td.n,th.n{text-align:right}\n"
    "tr.bad td:first-child{font-weight:650}\n"
    "code,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;"
    "font-size:13px;overflow-wrap:anywhere}dl{display:grid;grid-template-columns:max-"
    "content "
    "1fr;gap:4px "
    "20px;margin:0}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}\n"
    ".grid{stroke:var(--line)}.axis,.label{fill:var(--soft);font-size:12px;"
    "font-family:inherit}.label{font-size:13px}.part{stroke:var(--soft);stroke-width:2;"
    "opacity:.45}.band{fill:none;stroke:var(--bad);stroke-dasharray:6 5;opacity:.8}"
    ".band-label{fill:var(--bad)}.trace{fill:none;stroke:var(--mark);opacity:.35;"
    "stroke-width:1.5}.point.ok circle{fill:var(--mark)}.point.bad "
    "path{stroke:var(--bad);"
    "stroke-width:2.5;fill:none}\n"
    "@media print{body{padding:0}.panel{break-inside:avoid}}\n";

static const char *compute_name(const lvlm_replay *r)
{
    return r->compute == LVLM_COMPUTE_F64 ? "double precision" : "single precision";
}

/* ---- verdict -------------------------------------------------------------------- */

static void put_verdict(lvlm_strbuf *out, const lvlm_replay *r)
{
    if (r->first_bad == NULL) {
        lvlm_strbuf_printf(
            out,
            "<h1><span class=\"ok\">✓</span> Parity holds: all %zu stages "
            "are within their bands</h1>\n",
            r->n_stages);
    } else {
        lvlm_strbuf_puts(out, "<h1><span class=\"bad\">✗</span> First stage that is "
                              "wrong: <span class=\"bad\">");
        lvlm_report_escape(out, r->first_bad->name);
        lvlm_strbuf_printf(out, "</span></h1>\n<p>%s; %zu of %zu stages fail.</p>\n",
                           lvlm_verdict_name(r->first_bad->verdict), r->n_failed,
                           r->n_stages);
    }
    lvlm_strbuf_puts(out, "<p class=\"soft\">");
    lvlm_report_escape(out, r->family);
    lvlm_strbuf_printf(out, " in %s, behaviour of ", compute_name(r));
    lvlm_report_escape(out, r->reference);
    for (size_t i = 0; i < r->n_differences; i++) {
        lvlm_strbuf_puts(out, i == 0 ? "; differs from what was trained in: " : ", ");
        lvlm_report_escape(out, r->differences[i]);
    }
    lvlm_strbuf_puts(out, "</p>\n");
}

/* ---- stages --------------------------------------------------------------------- */

static void put_stage(lvlm_strbuf *out, const lvlm_replay_stage *s)
{
    char shape[LVLM_SHAPE_TEXT];
    const bool ok = s->verdict == LVLM_VERDICT_OK;
    const bool compared = ok || s->verdict == LVLM_VERDICT_OUT;
    lvlm_strbuf_printf(out, "<tr%s><td>", ok ? "" : " class=\"bad\"");
    lvlm_report_escape(out, s->name);
    lvlm_strbuf_printf(out, "</td><td class=\"soft\">%s</td>",
                       lvlm_shape_text(shape, &s->shape));
    if (compared)
        lvlm_strbuf_printf(out,
                           "<td class=\"n\">%.2e</td><td class=\"n\">%.2e</td>"
                           "<td class=\"n\">%.10f</td>",
                           s->relative_l2, s->distance.max_abs, s->cosine);
    else
        lvlm_strbuf_puts(out, "<td class=\"n\">–</td><td class=\"n\">–</td>"
                              "<td class=\"n\">–</td>");
    lvlm_strbuf_printf(out, "<td class=\"n soft\">%.1e</td><td class=\"%s\">%s %s",
                       s->band, ok ? "ok" : "bad", ok ? "✓" : "✗",
                       lvlm_verdict_name(s->verdict));
    if (s->verdict == LVLM_VERDICT_SHAPE)
        lvlm_strbuf_printf(out, ", got %s", lvlm_shape_text(shape, &s->got));
    lvlm_strbuf_puts(out, "</td></tr>\n");
}

static void put_stages(lvlm_strbuf *out, const lvlm_replay *r)
{
    lvlm_strbuf_puts(out,
                     "<h2>Stages in order of computation</h2>\n<div class=\"panel\">"
                     "<table>\n<tr><th>stage</th><th>shape</th><th class=\"n\">"
                     "relative L2</th><th class=\"n\">max abs</th><th class=\"n\">"
                     "cosine</th><th class=\"n\">band</th><th>verdict</th></tr>\n");
    for (size_t i = 0; i < r->n_stages; i++) put_stage(out, &r->stages[i]);
    lvlm_strbuf_puts(out, "</table></div>\n");
    for (size_t i = 0; i < r->n_stages; i++) {
        const lvlm_replay_stage *s = &r->stages[i];
        if (!s->is_logits || s->n_rows == 0) continue;
        lvlm_strbuf_printf(
            out,
            "<p>Logits: largest KL divergence of a row %.2e (band %.0e); "
            "both prefer the same token in %" PRIu64 " of %" PRIu64 " rows.</p>\n",
            s->max_kl, LVLM_BAND_KL, s->n_top1, s->n_rows);
    }
}

/* ---- worst rows ----------------------------------------------------------------- */

/* The stage whose rows are worth a look: the first bad one, else the last with rows. */
static const lvlm_replay_stage *interesting(const lvlm_replay *r)
{
    if (r->first_bad != NULL) return r->first_bad;
    for (size_t i = r->n_stages; i-- > 0;)
        if (r->stages[i].n_worst > 0 && r->stages[i].shape.n > 1) return &r->stages[i];
    return &r->stages[0];
}

static void put_worst(lvlm_strbuf *out, const lvlm_replay *r)
{
    const lvlm_replay_stage *s = interesting(r);
    const bool tokens = s->n_worst > 0 && s->worst[0].token >= 0;
    if (s->n_worst == 0) return;
    lvlm_strbuf_printf(out, "<h2>Worst %s of ", tokens ? "tokens" : "rows");
    lvlm_report_escape(out, s->name);
    lvlm_strbuf_printf(out,
                       "</h2>\n<div class=\"panel\"><table>\n<tr><th>%s</th>%s"
                       "<th class=\"n\">relative L2</th></tr>\n",
                       tokens ? "text, position" : "image, patch",
                       tokens ? "<th class=\"n\">input id</th>" : "");
    for (size_t i = 0; i < s->n_worst; i++) {
        lvlm_strbuf_printf(out, "<tr><td>%zu, %zu</td>", s->worst[i].index[0],
                           s->worst[i].index[1]);
        if (tokens)
            lvlm_strbuf_printf(out, "<td class=\"n\">%" PRId64 "</td>",
                               s->worst[i].token);
        lvlm_strbuf_printf(out, "<td class=\"n\">%.2e</td></tr>\n",
                           s->worst[i].relative_l2);
    }
    lvlm_strbuf_puts(out, "</table></div>\n");
}

/* ---- versions and digests ------------------------------------------------------- */

static void put_pair(lvlm_strbuf *out, const char *name, const char *value)
{
    lvlm_strbuf_puts(out, "<dt>");
    lvlm_report_escape(out, name);
    lvlm_strbuf_puts(out, "</dt><dd class=\"mono\">");
    lvlm_report_escape(out, value);
    lvlm_strbuf_puts(out, "</dd>\n");
}

static void put_provenance(lvlm_strbuf *out, const lvlm_replay *r)
{
    const cJSON *item;
    lvlm_strbuf_puts(out, "<h2>What was compared</h2>\n<div class=\"panel\"><dl>\n");
    put_pair(out, "model", r->model);
    put_pair(out, "root digest", r->model_root);
    put_pair(out, "recording", r->golden);
    put_pair(out, "SHA-256", r->golden_sha256);
    put_pair(out, "lvlm", LVLM_VERSION);
    cJSON_ArrayForEach(item, r->golden_metadata) if (lvlm_json_string(item) != NULL)
        put_pair(out, item->string, lvlm_json_string(item));
    lvlm_strbuf_puts(out, "</dl></div>\n");
}

void lvlm_report_html(lvlm_strbuf *out, const lvlm_replay *r)
{
    lvlm_strbuf_puts(out,
                     "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                     "\n<meta name=\"viewport\" content=\"width=device-width,"
                     "initial-scale=1\">\n<title>Replay of ");
    lvlm_report_escape(out, r->model);
    lvlm_strbuf_printf(out, "</title>\n<style>\n%s</style></head>\n<body>\n", style);
    put_verdict(out, r);
    lvlm_strbuf_puts(out, "<h2>Error along the depth</h2>\n<div class=\"panel\">\n");
    lvlm_report_chart(out, r);
    lvlm_strbuf_puts(out, "</div>\n");
    put_stages(out, r);
    put_worst(out, r);
    put_provenance(out, r);
    lvlm_strbuf_puts(out, "</body></html>\n");
}
