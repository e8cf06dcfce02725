/* answer.h - an answer as text: streamed, kept, its boxes drawn.
 *
 *   ids -> text_stream (whole characters) -> stdout, streamed
 *                                         -> boxes.h -> image, legend */
#ifndef LVLM_RUNTIME_CLI_ANSWER_H
#define LVLM_RUNTIME_CLI_ANSWER_H

#include <cjson/cJSON.h>

#include "formats/base/outfile.h"
#include "runtime/cli/prompting.h"

typedef struct answer {
    lvlm_text_stream stream;
    lvlm_strbuf text; /* all of it */
    size_t printed;   /* bytes of it */
    bool silent;      /* nothing is printed */
} answer;

/* Behind the prompt of `p`, which must outlive it. Free with answer_free. */
void answer_init(answer *a, const prompting *p, bool silent);
void answer_free(answer *a);

/* A row of the model's table that no token has says nothing. */
LVLM_MUST_CHECK int answer_take(answer *a, int64_t id, lvlm_error *err);
/* There are no more ids: print what is left, and a new line. What is kept has U+FFFD
 * for zero characters, which neither JSON nor labels can hold here. */
LVLM_MUST_CHECK int answer_end(answer *a, lvlm_error *err);

/* Draw the boxes that the answer names on the first image, into `file`, and say which
 * they are: a line each on stdout, or in `json` where that is not NULL. */
LVLM_MUST_CHECK int answer_draw(const answer *a, const prompting *p, lvlm_outfile *file,
                                cJSON *json, lvlm_error *err);

#endif
