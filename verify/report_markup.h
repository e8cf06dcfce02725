/* report_markup.h - what the reports in markup share: text made safe, numbers in words.
 * Private to verify/. */
#ifndef LVLM_VERIFY_REPORT_MARKUP_H
#define LVLM_VERIFY_REPORT_MARKUP_H

#include "formats/base/strbuf.h"
#include "verify/replay.h"

LVLM_BEGIN_DECLS

/* Text for XML, HTML and SVG, inside of elements and of quoted attributes: markup is
 * escaped; what is no UTF-8, and characters that XML 1.0 forbids, become U+FFFD. */
void lvlm_report_escape(lvlm_strbuf *out, const char *text);

/* The first `n_bytes` of it, `most` characters at the most. */
void lvlm_report_escape_cut(lvlm_strbuf *out, const char *text, size_t n_bytes,
                            size_t most);

enum { LVLM_ERROR_TEXT = 32 };
/* "1.23e-07", "0", "inf", "nan" into a caller's buffer; returns it. */
const char *lvlm_report_error(char text[LVLM_ERROR_TEXT], double error);

/* The same without zeros at the end: "1e-05", "2.5e-06". */
const char *lvlm_report_band(char text[LVLM_ERROR_TEXT], double band);

/* Why a stage failed ("relative L2 1.20e-03 is over the band 1e-05"), or how far it is
 * from failing. Nothing in it needs to be escaped. */
void lvlm_report_reason(lvlm_strbuf *out, const lvlm_replay_stage *stage);

LVLM_END_DECLS

#endif
