/* report_tables.h - the tables of a report in HTML. Private to verify/. */
#ifndef LVLM_VERIFY_REPORT_REPORT_TABLES_H
#define LVLM_VERIFY_REPORT_REPORT_TABLES_H

#include "formats/base/strbuf.h"
#include "verify/replay.h"

LVLM_BEGIN_DECLS

/* Every stage with its figures and its verdict. */
void lvlm_report_stages(lvlm_strbuf *out, const lvlm_replay *replay);
/* Second looks, the divergence of the logits, and the worst rows, if there are any. */
void lvlm_report_details(lvlm_strbuf *out, const lvlm_replay *replay);

LVLM_END_DECLS

#endif
