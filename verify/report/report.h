/* report.h - writes the result of a replay to `out`, for people and for CI systems. */
#ifndef LVLM_VERIFY_REPORT_REPORT_H
#define LVLM_VERIFY_REPORT_REPORT_H

#include "formats/base/strbuf.h"
#include "verify/replay.h"

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

LVLM_END_DECLS

#endif
