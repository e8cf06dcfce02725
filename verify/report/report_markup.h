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

/* Markup in which each "%s", the only directive, is a text to be escaped. */
void lvlm_report_put(lvlm_strbuf *out, const char *markup, ...) LVLM_PRINTF(2, 3);

/* The element in which a name of a stage or setting is HTML that no text around it
 * reorders. */
#define LVLM_REPORT_NAME "<span class=\"name\">%s</span>"

LVLM_END_DECLS

#endif
