/* report.h - writes the result of a replay, or of an audit, to `out`, for people and
 * for CI systems. */
#ifndef LVLM_VERIFY_REPORT_REPORT_H
#define LVLM_VERIFY_REPORT_REPORT_H

#include "formats/base/strbuf.h"
#include "verify/audit.h"
#include "verify/replay/replay.h"

LVLM_BEGIN_DECLS

enum { LVLM_MAX_REPORT = 64 << 20, LVLM_REPORT_WIDTH = 80 };

/* A table, one row per stage, the first bad one named below it, in lines of at most
 * `width` characters; 0: LVLM_REPORT_WIDTH. */
void lvlm_report_text(lvlm_strbuf *out, const lvlm_replay *replay, size_t width);
/* JUnit XML, as CI systems read it: one test case per stage. */
void lvlm_report_junit(lvlm_strbuf *out, const lvlm_replay *replay);
/* The same for a replay that failed before its stages: one test case with an error. */
void lvlm_report_junit_error(lvlm_strbuf *out, const char *model, const char *golden,
                             const lvlm_error *error);
/* One HTML file without outside references: verdict, chart of the error along the
 * depth, table of stages, worst tokens, versions, digests. */
void lvlm_report_html(lvlm_strbuf *out, const lvlm_replay *replay);
/* Annotations for GitHub Actions: an error with the first stage that fails and what may
 * be the cause, and a notice with the verdict. */
void lvlm_report_github(lvlm_strbuf *out, const lvlm_replay *replay);
/* One of any text, about that file. */
void lvlm_report_github_line(lvlm_strbuf *out, bool error, const char *title,
                             const char *file, const char *message);

/* ---- an audit -------------------------------------------------------------------- */

/* The result of a check in a sentence, and of all of them in one. */
void lvlm_report_check(lvlm_strbuf *out, const lvlm_check *check);
void lvlm_report_audit(lvlm_strbuf *out, const lvlm_audit *audit);
/* One suite per check; one page, with all replays; an annotation per failure, and one
 * of the result. */
void lvlm_report_audit_junit(lvlm_strbuf *out, const lvlm_audit *audit);
void lvlm_report_audit_html(lvlm_strbuf *out, const lvlm_audit *audit);
void lvlm_report_audit_github(lvlm_strbuf *out, const lvlm_audit *audit);

LVLM_END_DECLS

#endif
