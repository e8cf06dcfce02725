/* session.c - dispatches a session to the model's precision; see session.h. */
#include "runtime/generate/session.h"

#include "formats/base/alloc.h"
#include "runtime/model/engine.h"

struct lvlm_session {
    const lvlm_engine *engine;
    void *decoding;
};

int lvlm_session_begin(lvlm_session **out, lvlm_model *model,
                       const lvlm_checkpoint *inputs, const char *prefix,
                       const lvlm_stage_sink *sink, lvlm_error *err)
{
    void *pipeline = NULL;
    lvlm_session *const s = lvlm_calloc(1, sizeof *s);
    if (s == NULL) return lvlm_fail_memory(err);
    s->engine = lvlm_model_engine(model, &pipeline);
    const int rc = s->engine->begin(&s->decoding, pipeline, inputs, prefix, sink, err);
    if (rc < 0) {
        lvlm_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

int lvlm_session_step(lvlm_session *session, int64_t id, lvlm_error *err)
{
    return session->engine->step(session->decoding, id, err);
}

lvlm_tensor lvlm_session_logits(const lvlm_session *session)
{
    lvlm_tensor logits;
    session->engine->logits(session->decoding, &logits);
    return logits;
}

const int64_t *lvlm_session_tokens(const lvlm_session *session, size_t *n)
{
    return session->engine->tokens(session->decoding, n);
}

size_t lvlm_session_room(const lvlm_session *session)
{
    return session->engine->room(session->decoding);
}

void lvlm_session_end(lvlm_session *session)
{
    if (session == NULL) return;
    session->engine->end(session->decoding);
    lvlm_free(session);
}
