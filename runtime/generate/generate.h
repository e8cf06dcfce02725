/* generate.h - continues a text until it ends.
 *
 *   logits (session.h) -> a token (sampler.h) -> the caller -> ends? -> a step */
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
} lvlm_generated;

/* Generate at most max_new_tokens tokens after the session's text, including the end
 * token. The last one is not fed to the session. LVLM_EFORMAT if the text leaves no
 * position for a token. */
LVLM_MUST_CHECK int lvlm_generate(lvlm_generated *out, lvlm_session *session,
                                  const lvlm_generation *settings,
                                  const lvlm_token_sink *sink, lvlm_error *err);

LVLM_END_DECLS

#endif
