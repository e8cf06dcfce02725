/* session.c - a session is the one of the model's precision; see session.h. */
#include "runtime/generate/session.h"

#include <assert.h>

#include "runtime/model/engine.h"

int lvlm_session_begin(lvlm_session **out, lvlm_model *model,
                       const lvlm_checkpoint *inputs, const char *prefix,
                       const lvlm_stage_sink *sink, lvlm_error *err)
{
    void *pipeline = NULL;
    assert(model != NULL && inputs != NULL && prefix != NULL);
    const lvlm_engine *const engine = lvlm_model_engine(model, &pipeline);
    return engine->begin(out, pipeline, inputs, prefix, sink, err);
}

int lvlm_session_step(lvlm_session *session, int64_t id, lvlm_error *err)
{
    const lvlm_continuation step = { session, &id, 1 };
    return lvlm_sessions_step(&step, 1, err);
}

int lvlm_sessions_step(const lvlm_continuation *steps, size_t n, lvlm_error *err)
{
    assert(n > 0);
    return steps[0].session->engine->step(steps, n, err);
}

void lvlm_session_keep(lvlm_session *session, size_t n)
{
    session->engine->keep(session, n);
}

lvlm_tensor lvlm_session_logits(const lvlm_session *session)
{
    return session->logits;
}

lvlm_tensor lvlm_session_logits_after(const lvlm_session *session, size_t i)
{
    lvlm_tensor logits = session->logits;
    assert(i < session->n_new);
    logits.data -= (session->n_new - 1 - i) * logits.n_bytes;
    return logits;
}

const int64_t *lvlm_session_tokens(const lvlm_session *session, size_t *n)
{
    *n = session->n_tokens;
    return session->tokens;
}

bool lvlm_session_has(const lvlm_session *session, int64_t id)
{
    return id >= 0 && (uint64_t)id < session->vocab;
}

size_t lvlm_session_room(const lvlm_session *session)
{
    return session->room;
}

bool lvlm_session_cached(const lvlm_session *session, lvlm_tensor *keys,
                         lvlm_tensor *values, size_t block)
{
    return session->engine->cached(session, keys, values, block);
}

uint64_t lvlm_session_cache_bytes(const lvlm_session *session)
{
    return session->cache_bytes;
}

void lvlm_session_end(lvlm_session *session)
{
    if (session != NULL) session->engine->end(session);
}
