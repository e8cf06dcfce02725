/* session.h - a text that goes on token by token: what was computed once is kept.
 *
 *     lvlm_session *session = NULL;
 *     if ((rc = lvlm_session_begin(&session, model, inputs, "", NULL, &err)) < 0) ...
 *     lvlm_tensor logits = lvlm_session_logits(session);    of what comes next
 *     if ((rc = lvlm_session_step(session, id, &err)) < 0) ...
 *     logits = lvlm_session_logits(session);                of what comes behind id
 *     lvlm_session_end(session);
 *
 * A session borrows its model, which must outlive it; sessions of one model may be open
 * side by side, one of them running at a time. Results are bit-identical for every
 * number of threads. Which token is picked: sampler.h; all of it in a loop:
 * generate.h. */
#ifndef LVLM_RUNTIME_GENERATE_SESSION_H
#define LVLM_RUNTIME_GENERATE_SESSION_H

#include "runtime/model.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_session lvlm_session;

/* Read a text and its images: one forward pass over tensors as lvlm_model_forward
 * takes them, of a batch of one; labels do not count. `sink` gets the stages up to
 * text.norm, as from a forward; NULL: nobody does. Padding on the right is left out as
 * if it were not there; on the left it counts for positions, as in a forward.
 *
 * What comes behind sees the whole text, images included (cross-attention: what the
 * last token sees), and stands at the positions behind the largest one (where the
 * reference lets text overlap a clip: behind the last one). A rotary base that depends
 * on the length (dynamic NTK) stays what this text made it.
 *
 * *out is ended with lvlm_session_end. LVLM_EFORMAT as from a forward, and for more
 * than one text. */
LVLM_MUST_CHECK int lvlm_session_begin(lvlm_session **out, lvlm_model *model,
                                       const lvlm_checkpoint *inputs,
                                       const char *prefix, const lvlm_stage_sink *sink,
                                       lvlm_error *err);

/* One token more. An image token is a word like any other here. LVLM_EUSAGE: the model
 * has no such token; LVLM_ENOMEM. After an error the text is what it was. */
LVLM_MUST_CHECK int lvlm_session_step(lvlm_session *session, int64_t id,
                                      lvlm_error *err);

/* Logits [V] of what comes next: F32, or F64 when that is the precision. Borrowed until
 * the next step. */
lvlm_tensor lvlm_session_logits(const lvlm_session *session);

/* The ids of the text so far, padding left out. (n), borrowed until the next step. */
const int64_t *lvlm_session_tokens(const lvlm_session *session, size_t *n);

/* How many more tokens there are positions for that the model was made for
 * (max_position_embeddings); steps beyond them are computed all the same. */
size_t lvlm_session_room(const lvlm_session *session);

void lvlm_session_end(lvlm_session *session);

LVLM_END_DECLS

#endif
