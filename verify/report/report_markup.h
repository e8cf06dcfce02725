/* report_markup.h - escapes text for reports in XML, HTML and SVG. Private to
 * verify/. */
#ifndef LVLM_VERIFY_REPORT_REPORT_MARKUP_H
#define LVLM_VERIFY_REPORT_REPORT_MARKUP_H

#include "formats/base/strbuf.h"
#include "verify/replay.h"

LVLM_BEGIN_DECLS

/* Text for XML, HTML and SVG, inside of elements and of quoted attributes: markup is
 * escaped; what is not UTF-8, and characters that XML 1.0 forbids, become U+FFFD. */
void lvlm_report_escape(lvlm_strbuf *out, const char *text);

/* The first `n_bytes` of it, `most` characters at the most. */
void lvlm_report_escape_cut(lvlm_strbuf *out, const char *text, size_t n_bytes,
                            size_t most);

/* The name of a stage or setting, escaped, as HTML that no text around it reorders. */
void lvlm_report_name(lvlm_strbuf *out, const char *name);

LVLM_END_DECLS

#endif
