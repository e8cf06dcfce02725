/* report_tables.c - the tables of a report in HTML; see report_parts.h. */
#include "verify/report/report_parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/text.h"
#include "verify/cause/cause.h"
#include "verify/replay/bands.h"
#include "verify/replay/coarse.h"
#include "verify/report/report_words.h"

/* ---- stages --------------------------------------------------------------------- */

/* A row of a stage, with the cell of its name. */
#define ROW "<tr><td class=\"name\">%s</td>"
#define BAD_ROW "<tr class=\"bad\"><td class=\"name\">%s</td>"

/* A cell that a narrow screen shows below the others, after the name of its column. */
static void put_more(lvlm_strbuf *out, const char *column, const char *class,
                     const char *value)
{
    lvlm_strbuf_printf(out, "<td class=\"more %s\" data-name=\"%s\">%s</td>", class,
                       column, value);
}

static void put_numbers(lvlm_strbuf *out, const lvlm_replay_stage *s)
{
    char text[LVLM_ERROR_TEXT], cosine[LVLM_ERROR_TEXT] = "";
    if (!lvlm_verdict_compared(s->verdict)) {
        lvlm_strbuf_puts(out, "<td class=\"error n soft\">–</td>");
        for (int i = 0; i < 3; i++) lvlm_strbuf_puts(out, "<td class=\"more\"></td>");
        return;
    }
    lvlm_strbuf_printf(out, "<td class=\"error n\">%s</td>",
                       lvlm_report_error(text, s->error));
    put_more(out, "relative L2", "n", lvlm_report_error(text, s->relative_l2));
    put_more(out, "max abs", "n", lvlm_report_error(text, s->found.distance.max_abs));
    if (lvlm_report_has_cosine(s))
        (void)snprintf(cosine, sizeof cosine, isfinite(s->cosine) ? "%.9f" : "nan",
                       s->cosine);
    put_more(out, cosine[0] != '\0' ? "cosine" : "", "n", cosine);
}

/* The reason of a verdict, if the error does not show it. */
static void put_why(lvlm_strbuf *out, const lvlm_replay_stage *s)
{
    char shape[LVLM_SHAPE_TEXT];
    const bool ok = lvlm_verdict_passes(s->verdict);
    if (s->verdict == LVLM_VERDICT_SHAPE) {
        lvlm_strbuf_printf(out, "<span class=\"why-not\">computed in %s</span>",
                           lvlm_shape_text(shape, &s->got));
    } else if (!ok && (s->verdict == LVLM_VERDICT_VACUOUS || s->error <= s->band ||
                       s->found.distance.n_bad > 0)) {
        lvlm_strbuf_puts(out, "<span class=\"why-not\">");
        lvlm_report_reason(out, s);
        lvlm_strbuf_puts(out, "</span>");
    }
}

static void put_share(lvlm_strbuf *out, const lvlm_replay_share *share)
{
    char own[LVLM_ERROR_TEXT] = "", given[LVLM_ERROR_TEXT] = "";
    if (share->known) {
        (void)lvlm_report_error(own, share->own);
        (void)lvlm_report_error(given, share->given);
    }
    put_more(out, share->known ? "own" : "", share->is_cause ? "n bad" : "n", own);
    put_more(out, share->known ? "given" : "", "n", given);
}

static void put_stage(lvlm_strbuf *out, const lvlm_replay *r,
                      const lvlm_replay_stage *s)
{
    char text[LVLM_SHAPE_TEXT], band[LVLM_ERROR_TEXT];
    const bool ok = lvlm_verdict_passes(s->verdict);
    lvlm_report_put(out, ok ? ROW : BAD_ROW, s->name);
    put_more(out, "shape", "soft", lvlm_shape_text(text, &s->shape));
    put_numbers(out, s);
    if (lvlm_report_has_shares(r)) put_share(out, &s->share);
    if (!r->is_measure) {
        put_more(out, "band", "n soft", lvlm_report_band(band, s->band));
        lvlm_strbuf_printf(out,
                           "<td class=\"result\"><span class=\"verdict %s\">%s "
                           "%s</span>",
                           ok ? "ok" : "bad", ok ? "✓" : "✗",
                           lvlm_verdict_name(s->verdict));
        put_why(out, s);
        lvlm_strbuf_puts(out, "</td>");
    }
    lvlm_strbuf_puts(out, "</tr>\n");
}

void lvlm_report_stages(lvlm_strbuf *out, const lvlm_replay *r)
{
    const char *const page = r->recording.sha256; /* of several on one page */
    lvlm_strbuf_puts(out,
                     "<h2>Stages</h2>\n<p class=\"note\">In order of computation. The "
                     "error is the root mean square over rows of the relative L2 of "
                     "each; rows of padding are not compared.");
    if (lvlm_report_has_shares(r))
        lvlm_strbuf_puts(out, " Own: when a stage is computed from the recorded rows "
                              "of the one before it; given: the error that it had got "
                              "from there.");
    lvlm_strbuf_printf(
        out,
        "</p>\n<input type=\"checkbox\" class=\"all\" id=\"all%.8s\"/>"
        "<label for=\"all%.8s\"><span class=\"more-word\">all figures</span>"
        "<span class=\"less\">fewer figures</span></label>\n"
        "<div class=\"scroll\"><table "
        "class=\"stages\">\n<thead><tr><th>stage</th><th>shape</th>"
        "<th class=\"n\">error</th><th class=\"n\">relative L2</th>"
        "<th class=\"n\">max abs</th><th class=\"n\">cosine</th>",
        page, page);
    if (lvlm_report_has_shares(r))
        lvlm_strbuf_puts(out, "<th class=\"n\">own</th><th class=\"n\">given</th>");
    if (!r->is_measure)
        lvlm_strbuf_puts(out, "<th class=\"n\">band</th><th>verdict</th>");
    lvlm_strbuf_puts(out, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < r->n_stages; i++) put_stage(out, r, &r->stages[i]);
    lvlm_strbuf_puts(out, "</tbody></table></div>\n");
}

/* ---- second look ---------------------------------------------------------------- */

static void put_looks(lvlm_strbuf *out, const lvlm_replay *r)
{
    char recorded[LVLM_ERROR_TEXT], own[LVLM_ERROR_TEXT], most[LVLM_ERROR_TEXT];
    for (size_t i = 0; i < r->n_stages; i++) {
        const lvlm_replay_stage *const s = &r->stages[i];
        const bool ok = lvlm_verdict_passes(s->verdict);
        if (!s->looked_again) continue;
        lvlm_report_put(out, ok ? ROW : BAD_ROW, s->name);
        lvlm_strbuf_printf(out,
                           "<td class=\"n\">%s</td><td class=\"n\">%s</td>"
                           "<td class=\"n\">%s</td>"
                           "<td><span class=\"%s\">%s</span></td></tr>\n",
                           lvlm_report_error(recorded, s->recorded_error),
                           lvlm_report_error(own, s->own_error),
                           lvlm_report_error(most, s->explained), ok ? "ok" : "bad",
                           ok ? "rounding" : "a difference");
    }
}

/* How the last column follows from the one before it. */
static void put_rule(lvlm_strbuf *out, const lvlm_replay *r)
{
    const char *const coarse = lvlm_coarse_type(r);
    if (coarse != NULL)
        lvlm_strbuf_printf(out,
                           "in the other precision. Rounding to %s explains %.0f "
                           "times what our f32 is from double, times the ratio of "
                           "their units",
                           coarse, LVLM_ROUNDING_COARSE);
    else if (r->is_exact)
        lvlm_strbuf_printf(out,
                           "in double with every input moved by its last bit. Rounding "
                           "explains %.0f times what that changes",
                           LVLM_ROUNDING_EXACT);
    else
        lvlm_strbuf_printf(out,
                           "in the other precision. Rounding explains %.0f times what "
                           "our f32 is from double",
                           LVLM_ROUNDING);
}

/* The figures that tell rounding from a difference, of stages beyond their bands. */
static void put_second_look(lvlm_strbuf *out, const lvlm_replay *r)
{
    size_t n = 0;
    const bool moved = r->is_exact && lvlm_coarse_type(r) == NULL;
    for (size_t i = 0; i < r->n_stages; i++) n += r->stages[i].looked_again;
    if (n == 0) return;
    lvlm_strbuf_puts(out, "<h2>Second look</h2>\n<p class=\"note\">What is beyond its "
                          "band is computed once more, ");
    put_rule(out, r);
    lvlm_strbuf_printf(out,
                       ".</p>\n<div class=\"scroll\"><table class=\"few\">\n"
                       "<thead><tr><th>from double</th><th class=\"n\">the recording"
                       "</th><th class=\"n\">%s</th><th class=\"n\">rounding up to"
                       "</th><th></th></tr></thead>\n<tbody>\n",
                       moved ? "moved inputs" : "ours");
    put_looks(out, r);
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

/* The stage whose worst rows are shown: the first bad one that has any, else the
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

/* Does a row of it have an input id? */
static bool has_ids(const lvlm_replay_stage *s)
{
    for (size_t i = 0; i < s->found.n_worst; i++)
        if (s->found.worst[i].token >= 0) return true;
    return false;
}

static void put_row_heading(lvlm_strbuf *out, const lvlm_place *index,
                            const lvlm_place *meaning, bool ids)
{
    lvlm_strbuf_puts(out, "<thead><tr><th>");
    lvlm_report_axes(out, index);
    lvlm_strbuf_puts(out, "</th>");
    if (!lvlm_report_is_plain(index, meaning))
        for (size_t i = 0; i < meaning->n; i++)
            lvlm_strbuf_printf(out, "<th class=\"n\">%s</th>", meaning->at[i].axis);
    if (ids) lvlm_strbuf_puts(out, "<th class=\"n\">input id</th>");
    lvlm_strbuf_puts(out, "<th class=\"n\">relative L2</th></tr></thead>\n<tbody>\n");
}

static void put_row(lvlm_strbuf *out, const lvlm_place *index,
                    const lvlm_place *meaning, const lvlm_worst_row *row, bool ids)
{
    char error[LVLM_ERROR_TEXT];
    lvlm_strbuf_puts(out, "<tr><td>");
    lvlm_report_index(out, index);
    lvlm_strbuf_puts(out, "</td>");
    if (!lvlm_report_is_plain(index, meaning))
        for (size_t i = 0; i < meaning->n; i++)
            lvlm_strbuf_printf(out, "<td class=\"n\">%" PRIu64 "</td>",
                               meaning->at[i].index);
    if (ids) lvlm_strbuf_printf(out, "<td class=\"n\">%" PRId64 "</td>", row->token);
    lvlm_strbuf_printf(out, "<td class=\"n\">%s</td></tr>\n",
                       lvlm_report_error(error, row->error));
}

/* Rows of one table have the same columns; a video's need more than an image's. */
static void put_worst(lvlm_strbuf *out, const lvlm_replay *r)
{
    const lvlm_replay_stage *s = find_interesting(r);
    lvlm_place index, meaning, before = { .n = 0 };
    if (s == NULL || s->found.n_worst == 0) return;
    const bool is_text = s->is_logits || lvlm_starts_with(s->name, "text.");
    lvlm_report_put(out,
                    "<h2>Worst %s of " LVLM_REPORT_NAME
                    "</h2>\n<div class=\"scroll\"><table class=\"few\">\n",
                    is_text ? "tokens" : "rows", s->name);
    for (size_t i = 0; i < s->found.n_worst; i++) {
        lvlm_report_place(&index, &meaning, r, s, &s->found.worst[i]);
        if (i == 0 || !lvlm_report_is_plain(&before, &meaning)) {
            if (i > 0)
                lvlm_strbuf_puts(out, "</tbody></table>\n<table class=\"few\">\n");
            put_row_heading(out, &index, &meaning, has_ids(s));
        }
        put_row(out, &index, &meaning, &s->found.worst[i], has_ids(s));
        before = meaning;
    }
    lvlm_strbuf_puts(out, "</tbody></table></div>\n");
}

/* ---- the cause ------------------------------------------------------------------ */

/* What is known of the stage at fault, a sentence a line. */
static void put_cause(lvlm_strbuf *out, const lvlm_replay *r)
{
    char text[LVLM_CAUSE_TEXT];
    const char *kind, *sentence;
    bool tensors = false;
    if (r->why == NULL) return;
    lvlm_report_put(out,
                    "<h2>Why <span class=\"name\">%s</span></h2>\n"
                    "<p class=\"note\">Of its error, of the tensors that feed it, "
                    "and of known mistakes that were undone.</p>\n<ul>\n",
                    r->why->stage->name);
    for (size_t i = 0; (sentence = lvlm_report_cause(text, &kind, r, i)) != NULL; i++) {
        const bool is_tensor = strcmp(kind, "tensor") == 0;
        if (is_tensor && !tensors)
            lvlm_strbuf_puts(out, "</ul>\n<ul class=\"feeds\">\n");
        tensors = is_tensor;
        lvlm_report_put(out,
                        strcmp(kind, "cause") == 0 ? "<li><strong>%s</strong></li>\n"
                                                   : "<li>%s</li>\n",
                        sentence);
    }
    lvlm_strbuf_puts(out, "</ul>\n");
}

void lvlm_report_details(lvlm_strbuf *out, const lvlm_replay *r)
{
    put_cause(out, r);
    put_second_look(out, r);
    put_logits(out, r);
    put_worst(out, r);
}
