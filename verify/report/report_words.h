/* report_words.h - numbers, places, reasons and verdicts in words, the same in every
 * report. Private to verify/. */
#ifndef LVLM_VERIFY_REPORT_REPORT_WORDS_H
#define LVLM_VERIFY_REPORT_REPORT_WORDS_H

#include "formats/base/strbuf.h"
#include "verify/replay/replay.h"

LVLM_BEGIN_DECLS

enum { LVLM_ERROR_TEXT = 32 };
/* "1.23e-07", "0", "inf", "nan" into a caller's buffer; returns it. */
const char *lvlm_report_error(char text[LVLM_ERROR_TEXT], double error);

/* The same without zeros at the end: "1e-05", "2.5e-06". */
const char *lvlm_report_band(char text[LVLM_ERROR_TEXT], double band);

/* Why a stage failed ("error 1.20e-03 is over the band 1e-05"), or how far it is
 * from failing. Nothing in it needs to be escaped. */
void lvlm_report_reason(lvlm_strbuf *out, const lvlm_replay_stage *stage);

/* Where a row of a stage is (places.h). */
void lvlm_report_place(lvlm_place *index, lvlm_place *meaning,
                       const lvlm_replay *replay, const lvlm_replay_stage *stage,
                       const lvlm_worst_row *row);
/* "[2, 0, 3]" */
void lvlm_report_index(lvlm_strbuf *out, const lvlm_place *place);
/* "[text, image, token]" */
void lvlm_report_axes(lvlm_strbuf *out, const lvlm_place *place);
/* "[70]: image 2, row 3, column 1"; "[2, 0, 3] (id 7)" if its axes say it all and the
 * row is that of a token. */
void lvlm_report_row(lvlm_strbuf *out, const lvlm_place *index,
                     const lvlm_place *meaning, const lvlm_worst_row *row);
/* Does the index say everything, with its axes named? */
bool lvlm_report_is_plain(const lvlm_place *index, const lvlm_place *meaning);

/* "120", "70 000": error over band of a stage; "" if that ratio says nothing. `space`
 * separates thousands. */
enum { LVLM_TIMES_TEXT = 64 };
const char *lvlm_report_times(char text[LVLM_TIMES_TEXT],
                              const lvlm_replay_stage *stage, const char *space);

/* Only stages of more than one value have a cosine. */
bool lvlm_report_has_cosine(const lvlm_replay_stage *stage);

/* The name of the precision. */
const char *lvlm_report_compute(const lvlm_replay *replay);

/* The number of stages with a verdict. */
size_t lvlm_report_count(const lvlm_replay *replay, lvlm_verdict verdict);
/* Do all stages agree in double? */
bool lvlm_report_is_exact(const lvlm_replay *replay);

/* Are there gradients of a float32 recording? Then reports remark on it. */
bool lvlm_report_loose_gradients(const lvlm_replay *replay);
#define LVLM_LOOSE_GRADIENTS                                                           \
    "gradients of a float32 recording are judged at 2e-03: the reference takes its "   \
    "loss in float32; a recording in double proves more"

/* Does some stage have an error of its own and one that it was given? */
bool lvlm_report_has_shares(const lvlm_replay *replay);
/* "text.blocks.1", or "the inputs": what the own error was computed from. */
void lvlm_report_from(lvlm_strbuf *out, const lvlm_replay_stage *stage);
/* The sentences on the cause (cause/cause.h), `i` from 0 on; NULL: there are no more.
 * `kind` is what a sentence is about: "sign", "weights", "cause", "tried", "tensor". */
enum { LVLM_CAUSE_TEXT = 1024 };
const char *lvlm_report_cause(char text[LVLM_CAUSE_TEXT], const char **kind,
                              const lvlm_replay *replay, size_t i);
/* Does a known mistake explain the failure? */
bool lvlm_report_is_explained(const lvlm_replay *replay);
/* Append "; with rope_theta 10000 instead of 1000000 this stage agrees ...", the known
 * mistake that explains the failure best, if one does; before it the name of the stage
 * at fault, if that is another than the first that fails. */
void lvlm_report_mistake(lvlm_strbuf *out, const lvlm_replay *replay);
/* Which stage is at fault, and which follow: a sentence without markup; nothing if
 * nothing fails. */
void lvlm_report_whose(lvlm_strbuf *out, const lvlm_replay *replay);

enum { LVLM_LOOK_TEXT = 192, LVLM_VERDICT_TEXT = 192 };
/* The result of the second look at a stage, with both figures. */
const char *lvlm_report_look(char text[LVLM_LOOK_TEXT], const lvlm_replay *replay,
                             const lvlm_replay_stage *stage);
/* The result in one line: "exact: all 12 stages agree in double, ...". */
const char *lvlm_report_verdict(char text[LVLM_VERDICT_TEXT],
                                const lvlm_replay *replay);

/* Sentences about a recording of another family than the model, of another behaviour
 * than was computed, or of a coarser type: "the recording shows trained, this run
 * computes transformers-5.23.0: they differ in final_softcap (seen from logits on)".
 * Names are as the recording has them. */
enum { LVLM_MISMATCHES = 5, LVLM_MISMATCH_TEXT = 1024 };
typedef char lvlm_mismatch[LVLM_MISMATCH_TEXT];
/* Returns how many there are. */
size_t lvlm_report_mismatches(lvlm_mismatch out[LVLM_MISMATCHES],
                              const lvlm_replay *replay);

LVLM_END_DECLS

#endif
