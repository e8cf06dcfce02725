/* report_chart.h - the error along the depth of a model as an SVG. Private to
 * verify/. */
#ifndef LVLM_VERIFY_REPORT_REPORT_CHART_H
#define LVLM_VERIFY_REPORT_REPORT_CHART_H

#include "formats/base/strbuf.h"
#include "verify/replay.h"

LVLM_BEGIN_DECLS

/* Relative L2 of every stage on a logarithmic axis, the bands as a line, the parts of
 * the model labelled, a legend. Colours come from the page's style sheet. */
void lvlm_report_chart(lvlm_strbuf *out, const lvlm_replay *replay);

LVLM_END_DECLS

#endif
