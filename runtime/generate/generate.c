/* generate.c - the loop of generation; see generate.h. */
#include "runtime/generate/generate.h"

#include <assert.h>

static bool ends(const lvlm_generation *g, int64_t id)
{
    for (size_t i = 0; i < g->n_ends; i++)
        if (g->ends[i] == id) return true;
    return false;
}

static int run(lvlm_generated *out, lvlm_session *session, lvlm_sampler *sampler,
               const lvlm_generation *g, const lvlm_token_sink *sink, lvlm_error *err)
{
    size_t room = lvlm_session_room(session), n_text;
    int64_t id = -1;
    (void)lvlm_session_tokens(session, &n_text);
    FAIL_IF(room == 0, err, LVLM_EFORMAT,
            "the text of %zu tokens uses all positions that the model was made for "
            "(max_position_embeddings): there is no room for an answer",
            n_text);
    while (out->n < g->max_new_tokens && !(out->full = room-- == 0)) {
        if (!lvlm_generation_forces(&id, g, id)) {
            if (out->n > 0) TRY(lvlm_session_step(session, id, err));
            const lvlm_tensor logits = lvlm_session_logits(session);
            TRY(lvlm_sampler_pick(sampler, &id, &logits, err));
            lvlm_sampler_hold(sampler, &id, 1);
        }
        out->n++;
        TRY(sink->take(sink->user, id, err));
        if ((out->ended = ends(g, id))) break;
    }
    return 0;
}

int lvlm_generate(lvlm_generated *out, lvlm_session *session,
                  const lvlm_generation *settings, const lvlm_token_sink *sink,
                  lvlm_error *err)
{
    const lvlm_tensor logits = lvlm_session_logits(session);
    lvlm_sampler sampler;
    size_t n = 0;
    *out = (lvlm_generated){ 0 };
    assert(sink->take != NULL && logits.shape.n == 1);
    int rc =
        lvlm_sampler_make(&sampler, &settings->sampling, logits.shape.dims[0], err);
    if (rc == 0) {
        const int64_t *const text = lvlm_session_tokens(session, &n);
        lvlm_sampler_hold(&sampler, text, n);
        rc = run(out, session, &sampler, settings, sink, err);
    }
    lvlm_sampler_free(&sampler);
    return rc;
}
