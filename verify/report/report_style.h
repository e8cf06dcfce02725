/* report_style.h - the style sheet of a report in HTML. Private to verify/. */
#ifndef LVLM_VERIFY_REPORT_REPORT_STYLE_H
#define LVLM_VERIFY_REPORT_REPORT_STYLE_H

#include "formats/base/strbuf.h"

LVLM_BEGIN_DECLS

void lvlm_report_style(lvlm_strbuf *out);

LVLM_END_DECLS

#endif
