/* generate.h - continues a text until it ends, or several together.
 *
 *   logits (session.h) -> a token (sampler.h) -> the caller -> ends? -> a step
 *
 * With lookup a step has proposed tokens too (lookup.h): those that are chosen anyway
 * are kept, and the others forgotten. The tokens of a text are the same with it and
 * without, and whatever other texts are continued beside it. */
#ifndef LVLM_RUNTIME_GENERATE_GENERATE_H
#define LVLM_RUNTIME_GENERATE_GENERATE_H

#include "runtime/generate/generation_config.h"
#include "runtime/generate/session.h"

LVLM_BEGIN_DECLS

/* Receives each new token immediately. */
typedef struct lvlm_token_sink {
    /* A negative lvlm_code stops and is returned. */
    int (*take)(void *user, int64_t id, lvlm_error *err);
    void *user;
} lvlm_token_sink;

typedef struct lvlm_generated {
    uint64_t n; /* new tokens */
    bool ended; /* by an end token, which is the last one */
    /* ended by the model's positions (lvlm_session_room); if neither, by the limit */
    bool full;
    uint64_t passes; /* steps of the session; with lookup fewer than tokens */
} lvlm_generated;

/* Generate at most max_new_tokens tokens after the session's text, including the end
 * token. The last one is not fed to the session. LVLM_EFORMAT if the text leaves no
 * position for a token. */
LVLM_MUST_CHECK int lvlm_generate(lvlm_generated *out, lvlm_session *session,
                                  const lvlm_generation *settings,
                                  const lvlm_token_sink *sink, lvlm_error *err);

/* ---- several texts --------------------------------------------------------------- */

/* A text that is continued. */
typedef struct lvlm_generator {
    lvlm_session *session;           /* borrowed, as are */
    const lvlm_generation *settings; /* these */
    lvlm_token_sink sink;
    lvlm_sampler sampler;
    lvlm_generated made;
    size_t room; /* positions left */
    bool done;
    int64_t ids[LVLM_STEP_TOKENS]; /* (n_ids) of the next step: the last token, and */
    size_t n_ids;                  /* proposals */
} lvlm_generator;

/* The first token of a session's text, which the sink takes. LVLM_EFORMAT as above.
 * Free with lvlm_generator_free, also after a failure. */
LVLM_MUST_CHECK int lvlm_generator_begin(lvlm_generator *out, lvlm_session *session,
                                         const lvlm_generation *settings,
                                         const lvlm_token_sink *sink, lvlm_error *err);
void lvlm_generator_free(lvlm_generator *generator);

/* One step of all of `texts` (n) that are not done: up to LVLM_STEP_TOKENS of one
 * model. If none remains nothing is done. */
LVLM_MUST_CHECK int lvlm_generators_step(lvlm_generator *const *texts, size_t n,
                                         lvlm_error *err);

LVLM_END_DECLS

#endif
