/* answer.h - an answer as text: streamed, kept, its boxes drawn.
 *
 *   ids -> text_stream (whole characters) -> stdout, streamed
 *                                         -> boxes.h -> image, legend */
#ifndef LVLM_RUNTIME_CLI_ANSWER_H
#define LVLM_RUNTIME_CLI_ANSWER_H

#include "formats/base/outfile.h"
#include "formats/cli/printer.h"
#include "runtime/cli/prompting.h"

typedef struct answer {
    lvlm_text_stream stream;
    lvlm_strbuf text; /* all of it */
    size_t printed;   /* bytes of it */
    bool silent;      /* nothing is printed */
} answer;

/* An answer to a prompt of `prompter`, which must outlive it. Free with answer_free. */
void answer_init(answer *a, const lvlm_prompter *prompter, bool silent);
void answer_free(answer *a);

/* An id that the tokenizer does not have prints nothing. */
LVLM_MUST_CHECK int answer_take(answer *a, int64_t id, lvlm_error *err);
/* After the last id: print the remaining text and a new line. In the text that is kept
 * zero characters are U+FFFD, because strings of JSON and labels end at zero here. */
LVLM_MUST_CHECK int answer_end(answer *a, lvlm_error *err);

/* Draw the boxes that the answer names on the first image, into `file`, and list
 * them. */
LVLM_MUST_CHECK int answer_draw(const answer *a, const prompting *p, lvlm_outfile *file,
                                lvlm_printer *to, lvlm_error *err);

#endif
