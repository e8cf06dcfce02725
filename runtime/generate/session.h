/* session.h - extends a text token by token, with cached keys and values.
 *
 *     lvlm_session *session = NULL;
 *     if ((rc = lvlm_session_begin(&session, model, inputs, "", NULL, &err)) < 0) ...
 *     lvlm_tensor logits = lvlm_session_logits(session); of the next token
 *     if ((rc = lvlm_session_step(session, id, &err)) < 0) ...
 *     logits = lvlm_session_logits(session); of the token after id
 *     lvlm_session_end(session);
 *
 * A session borrows its model, which must outlive it; several sessions of one model may
 * be open, but only one may run at a time. Results are bit-identical for every number
 * of threads. To choose a token: sampler.h; the whole loop: generate.h. */
#ifndef LVLM_RUNTIME_GENERATE_SESSION_H
#define LVLM_RUNTIME_GENERATE_SESSION_H

#include "runtime/model.h"
#include "runtime/model/step.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_session lvlm_session;

/* Read a text and its images: one forward pass over the tensors of lvlm_model_forward
 * with a batch of one; labels are ignored. `sink` receives the stages up to text.norm;
 * NULL: none. Padding on the right is dropped; on the left it counts for positions, as
 * in a forward.
 *
 * New tokens attend to the whole text, including images (cross-attention: to what is
 * visible to the last token), and have the positions after the largest one (if the
 * reference lets text overlap a clip: after the last one). A rotary base that depends
 * on the length (dynamic NTK) is fixed by this text.
 *
 * End *out with lvlm_session_end. LVLM_EFORMAT as for a forward, and for more than one
 * text. */
LVLM_MUST_CHECK int lvlm_session_begin(lvlm_session **out, lvlm_model *model,
                                       const lvlm_checkpoint *inputs,
                                       const char *prefix, const lvlm_stage_sink *sink,
                                       lvlm_error *err);

/* Append one token. Image token ids are treated as text. LVLM_EUSAGE: the model has no
 * such token; LVLM_ENOMEM. After an error the text is unchanged. */
LVLM_MUST_CHECK int lvlm_session_step(lvlm_session *session, int64_t id,
                                      lvlm_error *err);

/* Append tokens to several texts of one model, at most LVLM_STEP_TOKENS in all, each
 * text once: weights are read once for all of them. Every text has the logits, bit for
 * bit, that it has when its tokens are appended one by one. Errors as above; after one
 * every text is unchanged. */
LVLM_MUST_CHECK int lvlm_sessions_step(const lvlm_continuation *steps, size_t n,
                                       lvlm_error *err);

/* Of the tokens that the last step appended keep the first n, at least one: the text is
 * as if the others had never been there. */
void lvlm_session_keep(lvlm_session *session, size_t n);

/* Logits [V] of the next token: F32, or F64 in that precision. Borrowed until the next
 * step. */
lvlm_tensor lvlm_session_logits(const lvlm_session *session);

/* The same after token number i, from 0, of the last step. */
lvlm_tensor lvlm_session_logits_after(const lvlm_session *session, size_t i);

/* The ids of the text so far, without padding. (n), borrowed until the next step. */
const int64_t *lvlm_session_tokens(const lvlm_session *session, size_t *n);

/* Does the model have this token, so that a step accepts it? */
bool lvlm_session_has(const lvlm_session *session, int64_t id);

/* How many more tokens fit the model's positions (max_position_embeddings); steps
 * beyond them are computed anyway. */
size_t lvlm_session_room(const lvlm_session *session);

/* What the cache holds of decoder block `block`: keys, rotated, and values [rows,K], a
 * row for each token of the text so far, in cross-attention for each of the image's.
 * F32, or F64 in that precision; BF16 with options->cache_bf16. Borrowed until the next
 * step. False: there is none. */
bool lvlm_session_cached(const lvlm_session *session, lvlm_tensor *keys,
                         lvlm_tensor *values, size_t block);

/* The memory that is reserved for all of them. */
uint64_t lvlm_session_cache_bytes(const lvlm_session *session);

void lvlm_session_end(lvlm_session *session);

LVLM_END_DECLS

#endif
