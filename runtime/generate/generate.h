/* generate.h - a text goes on until it ends.
 *
 *   logits (session.h) -> a token (sampler.h) -> the caller -> ends? -> a step */
#ifndef LVLM_RUNTIME_GENERATE_GENERATE_H
#define LVLM_RUNTIME_GENERATE_GENERATE_H

#include "runtime/generate/generation_config.h"
#include "runtime/generate/session.h"

LVLM_BEGIN_DECLS

/* Where tokens go, each as soon as it is known. */
typedef struct lvlm_token_sink {
    /* A negative lvlm_code stops with it. */
    int (*take)(void *user, int64_t id, lvlm_error *err);
    void *user;
} lvlm_token_sink;

typedef struct lvlm_generated {
    uint64_t n; /* new tokens */
    bool ended; /* by a token that ends a text, which is the last */
    bool full; /* by the model's positions (lvlm_session_room); neither: by the limit */
} lvlm_generated;

/* New tokens behind the session's text, at most max_new_tokens, the one that ends it
 * included. The last of them is not read into the session. LVLM_EFORMAT when the text
 * leaves no position for a single one. */
LVLM_MUST_CHECK int lvlm_generate(lvlm_generated *out, lvlm_session *session,
                                  const lvlm_generation *settings,
                                  const lvlm_token_sink *sink, lvlm_error *err);

LVLM_END_DECLS

#endif
