/* report_style.h - the style sheet of a report in HTML: style.css, which the build
 * embeds. Private to verify/. */
#ifndef LVLM_VERIFY_REPORT_REPORT_STYLE_H
#define LVLM_VERIFY_REPORT_REPORT_STYLE_H

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

extern const char lvlm_report_style[];

LVLM_END_DECLS

#endif
