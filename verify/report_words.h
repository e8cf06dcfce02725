/* report_words.h - numbers, places, reasons and verdicts in words, alike in every
 * report. Private to verify/. */
#ifndef LVLM_VERIFY_REPORT_WORDS_H
#define LVLM_VERIFY_REPORT_WORDS_H

#include "formats/base/strbuf.h"
#include "verify/replay.h"

LVLM_BEGIN_DECLS

enum { LVLM_ERROR_TEXT = 32 };
/* "1.23e-07", "0", "inf", "nan" into a caller's buffer; returns it. */
const char *lvlm_report_error(char text[LVLM_ERROR_TEXT], double error);

/* The same without zeros at the end: "1e-05", "2.5e-06". */
const char *lvlm_report_band(char text[LVLM_ERROR_TEXT], double band);

/* Why a stage failed ("error 1.20e-03 is over the band 1e-05"), or how far it is
 * from failing. Nothing in it needs to be escaped. */
void lvlm_report_reason(lvlm_strbuf *out, const lvlm_replay_stage *stage);

/* The place of a row: an index for each axis of its stage but the last; as numbers, and
 * as "[2, 0, 3]" into a caller's buffer, which is returned. */
void lvlm_report_row_index(lvlm_shape *out, const lvlm_replay_stage *stage,
                           const lvlm_worst_row *row);
const char *lvlm_report_row(char text[LVLM_SHAPE_TEXT], const lvlm_replay_stage *stage,
                            const lvlm_worst_row *row);

/* Every stage agrees in double. */
bool lvlm_report_is_exact(const lvlm_replay *replay);

/* Are there gradients of a float32 recording? Then this is worth saying. */
bool lvlm_report_loose_gradients(const lvlm_replay *replay);
#define LVLM_LOOSE_GRADIENTS                                                           \
    "gradients of a float32 recording are judged at 2e-03: the reference takes its "   \
    "loss in float32; a recording in double proves more"

enum { LVLM_LOOK_TEXT = 160, LVLM_VERDICT_TEXT = 192 };
/* What the second look at a stage showed, with both figures. */
const char *lvlm_report_look(char text[LVLM_LOOK_TEXT], const lvlm_replay *replay,
                             const lvlm_replay_stage *stage);
/* The result in one line: "exact: all 12 stages agree in double, ...". */
const char *lvlm_report_verdict(char text[LVLM_VERDICT_TEXT],
                                const lvlm_replay *replay);

LVLM_END_DECLS

#endif
