/* generate.c - the loop of generation; see generate.h. */
#include "runtime/generate/generate.h"

#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/generate/lookup.h"

static bool ends(const lvlm_generation *g, int64_t id)
{
    for (size_t i = 0; i < g->n_ends; i++)
        if (g->ends[i] == id) return true;
    return false;
}

/* Is there no place for another token? */
static bool is_full(lvlm_generator *g)
{
    if (g->made.n == g->settings->max_new_tokens) return true;
    return g->made.full = g->room == 0;
}

static int put(lvlm_generator *g, int64_t id, lvlm_error *err)
{
    g->made.n++;
    g->room--;
    g->ids[0] = id;
    g->n_ids = 1;
    TRY(g->sink.take(g->sink.user, id, err));
    g->made.ended = ends(g->settings, id);
    g->done = g->made.ended || is_full(g);
    return 0;
}

static int choose(lvlm_generator *g, const lvlm_tensor *logits, lvlm_error *err)
{
    int64_t id;
    TRY(lvlm_sampler_pick(&g->sampler, &id, logits, err));
    lvlm_sampler_hold(&g->sampler, &id, 1);
    TRY(put(g, id, err));
    if (g->done || !lvlm_generation_forces(&id, g->settings, id)) return 0;
    return put(g, id, err);
}

int lvlm_generator_begin(lvlm_generator *g, lvlm_session *session,
                         const lvlm_generation *settings, const lvlm_token_sink *sink,
                         lvlm_error *err)
{
    const lvlm_tensor logits = lvlm_session_logits(session);
    size_t n;
    const int64_t *const text = lvlm_session_tokens(session, &n);
    assert(sink->take != NULL && logits.shape.n == 1);
    *g = (lvlm_generator){ .session = session, .settings = settings, .sink = *sink };
    TRY(lvlm_sampler_make(&g->sampler, &settings->sampling, logits.shape.dims[0], err));
    lvlm_sampler_hold(&g->sampler, text, n);
    g->room = lvlm_session_room(session);
    FAIL_IF(g->room == 0, err, LVLM_EFORMAT,
            "the text of %zu tokens uses all positions that the model was made for "
            "(max_position_embeddings): there is no room for an answer",
            n);
    g->done = is_full(g);
    return g->done ? 0 : choose(g, &logits, err);
}

void lvlm_generator_free(lvlm_generator *g)
{
    lvlm_sampler_free(&g->sampler);
}

/* ---- steps ----------------------------------------------------------------------- */

/* Add up to `most` proposals. */
static int propose(lvlm_generator *g, size_t most, lvlm_error *err)
{
    size_t n;
    const int64_t *const text = lvlm_session_tokens(g->session, &n);
    const uint64_t left = g->settings->max_new_tokens - g->made.n;
    int64_t *const proposed = g->ids + 1;
    assert(g->n_ids == 1 && left > 0 && g->room > 0);
    if (most > g->settings->lookup) most = (size_t)g->settings->lookup;
    if (most > left - 1) most = (size_t)left - 1;
    if (most > g->room - 1) most = g->room - 1;
    if (most == 0) return 0;
    int64_t *const all = lvlm_malloc((n + 1) * sizeof *all);
    if (all == NULL) return lvlm_fail_memory(err);
    memcpy(all, text, n * sizeof *all);
    all[n] = g->ids[0];
    const size_t found = lvlm_lookup(proposed, most, all, n + 1);
    lvlm_free(all);
    for (size_t i = 0; i < found && lvlm_session_has(g->session, proposed[i]); i++)
        g->n_ids++;
    return 0;
}

/* Choose tokens after those of the step for as long as they are the proposed ones. */
static int verify(lvlm_generator *g, lvlm_error *err)
{
    int64_t fed[LVLM_STEP_TOKENS];
    const size_t n = g->n_ids;
    size_t i = 0;
    memcpy(fed, g->ids, sizeof fed);
    g->made.passes++;
    do {
        const lvlm_tensor logits = lvlm_session_logits_after(g->session, i++);
        TRY(choose(g, &logits, err));
    } while (!g->done && i < n && g->ids[0] == fed[i]);
    lvlm_session_keep(g->session, i);
    return 0;
}

int lvlm_generators_step(lvlm_generator *const *texts, size_t n, lvlm_error *err)
{
    lvlm_generator *live[LVLM_STEP_TOKENS];
    lvlm_continuation steps[LVLM_STEP_TOKENS];
    size_t n_live = 0, left = LVLM_STEP_TOKENS;
    for (size_t i = 0; i < n; i++) {
        if (texts[i]->done) continue;
        assert(n_live < LVLM_STEP_TOKENS);
        live[n_live++] = texts[i];
    }
    if (n_live == 0) return 0;
    for (size_t i = 0; i < n_live; i++) { /* one row of each of the others is theirs */
        TRY(propose(live[i], left - (n_live - i), err));
        steps[i] =
            (lvlm_continuation){ live[i]->session, live[i]->ids, live[i]->n_ids };
        left -= live[i]->n_ids;
    }
    TRY(lvlm_sessions_step(steps, n_live, err));
    for (size_t i = 0; i < n_live; i++) TRY(verify(live[i], err));
    return 0;
}

int lvlm_generate(lvlm_generated *out, lvlm_session *session,
                  const lvlm_generation *settings, const lvlm_token_sink *sink,
                  lvlm_error *err)
{
    lvlm_generator g, *const one = &g;
    int rc = lvlm_generator_begin(&g, session, settings, sink, err);
    while (rc == 0 && !g.done) rc = lvlm_generators_step(&one, 1, err);
    *out = g.made;
    lvlm_generator_free(&g);
    return rc;
}
