/* report_parts.h - the parts of a report in HTML. Private to verify/. */
#ifndef LVLM_VERIFY_REPORT_REPORT_PARTS_H
#define LVLM_VERIFY_REPORT_REPORT_PARTS_H

#include "formats/base/strbuf.h"
#include "verify/replay/replay.h"

LVLM_BEGIN_DECLS

/* ---- report_markup.c: text in XML, HTML and SVG ---------------------------------- */

/* Markup in which each "%s", the only directive, is a text inside of an element or of a
 * quoted attribute: its markup is escaped; what is not UTF-8, and characters that XML
 * 1.0 forbids, become U+FFFD. */
void lvlm_report_put(lvlm_strbuf *out, const char *markup, ...) LVLM_PRINTF(2, 3);

/* The first `n_bytes` of such a text, `most` characters at the most. */
void lvlm_report_escape_cut(lvlm_strbuf *out, const char *text, size_t n_bytes,
                            size_t most);

/* The element in which a name of a stage or setting is HTML that no text around it
 * reorders. */
#define LVLM_REPORT_NAME "<span class=\"name\">%s</span>"

/* ---- report_html.c: a page, and what several have -------------------------------- */

/* Everything up to the first element of the page, whose title begins with a verdict. */
void lvlm_report_page_open(lvlm_strbuf *out, const char *verdict, const char *model);
void lvlm_report_page_close(lvlm_strbuf *out);
/* The beginning of a header: a sign, a word beside it, and the file that it is about;
 * NULL: none. */
void lvlm_report_badge(lvlm_strbuf *out, bool ok, const char *word, const char *of);
/* A replay: its header, and all that follows. */
void lvlm_report_replay(lvlm_strbuf *out, const lvlm_replay *replay);

/* ---- report_junit.c -------------------------------------------------------------- */

typedef struct lvlm_report_counts {
    size_t tests, failures, errors, skipped;
} lvlm_report_counts;

/* The document around its suites. */
void lvlm_report_junit_open(lvlm_strbuf *out, const lvlm_report_counts *counts);
void lvlm_report_junit_close(lvlm_strbuf *out);
/* The opening tag of a suite. */
void lvlm_report_junit_suite(lvlm_strbuf *out, const char *name,
                             const lvlm_report_counts *counts);
/* The suite of a replay. */
void lvlm_report_junit_replay(lvlm_strbuf *out, const lvlm_replay *replay);

/* ---- report_tables.c ------------------------------------------------------------- */

/* Every stage with its figures and its verdict. */
void lvlm_report_stages(lvlm_strbuf *out, const lvlm_replay *replay);
/* Second looks, the divergence of the logits, and the worst rows, if there are any. */
void lvlm_report_details(lvlm_strbuf *out, const lvlm_replay *replay);

/* ---- report_chart.c -------------------------------------------------------------- */

/* Relative L2 of every stage on a logarithmic axis, the bands as a line, the parts of
 * the model labelled, a legend. Colours come from the page's style sheet. */
void lvlm_report_chart(lvlm_strbuf *out, const lvlm_replay *replay);

/* ---- style.css, which the build embeds ------------------------------------------- */

extern const char lvlm_report_style[];

LVLM_END_DECLS

#endif
