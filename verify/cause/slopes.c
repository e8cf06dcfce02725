/* slopes.c - a model whose stages agree and whose gradients do not; see cause.h. */
#include <string.h>

#include "formats/base/strbuf.h"
#include "formats/base/text.h"
#include "verify/cause/trial.h"
#include "verify/replay/recording.h"

enum { MOST_TEXT = 1 << 12, NAMED = 4 };

static const char *source_of(const lvlm_replay_stage *gradient)
{
    return gradient->name + strlen(LVLM_RECORDED_GRADIENT);
}

/* The first native part of a source tensor, or NULL. */
static const lvlm_target *target_of(const lvlm_manifest *m, const char *source)
{
    for (size_t i = 0; i < m->n_targets; i++)
        if (m->targets[i].source_name != NULL &&
            strcmp(m->targets[i].source_name, source) == 0)
            return &m->targets[i];
    return NULL;
}

/* Which gradients differ, from the head down. */
static void put_names(lvlm_strbuf *out, const lvlm_replay *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_stages; i++) {
        if (lvlm_verdict_passes(r->stages[i].verdict)) continue;
        if (n++ < NAMED)
            lvlm_strbuf_printf(out, "%s%s", n > 1 ? ", " : "",
                               source_of(&r->stages[i]));
    }
    if (n > NAMED) lvlm_strbuf_printf(out, " and %zu more", n - NAMED);
}

static int find(cause_session *s, const lvlm_manifest *m, lvlm_error *err)
{
    const char *const source = source_of(s->stage);
    const lvlm_target *const t = target_of(m, source);
    lvlm_strbuf names = LVLM_STRBUF_INIT(MOST_TEXT);
    lvlm_cause *const out = s->out;
    put_names(&names, s->replay);
    int rc = lvlm_strbuf_check(&names, err);
    if (rc == 0)
        rc = cause_say(s, &out->signs, &out->n_signs, err,
                       "every stage agrees, and gradients do not: from the head down "
                       "those of %s",
                       names.text);
    lvlm_strbuf_free(&names);
    if (rc < 0 || t == NULL) return rc;
    const char *const stage = cause_stage_of(s, t);
    if (stage == NULL) return 0;
    return cause_say(
        s, &out->signs, &out->n_signs, err,
        "%s is a tensor of stage %s: what differs is which rows, labels or "
        "weights take part there or after it (padding, frozen parts, a "
        "tied table), not what is computed forward",
        source, stage);
}

int lvlm_cause_of_gradients(lvlm_replay *r, const lvlm_manifest *manifest,
                            lvlm_error *err)
{
    lvlm_replay_stage *const first = r->stages + (r->first_bad - r->stages);
    lvlm_cause *const out = lvlm_arena_alloc(&r->arena, 1, sizeof *out);
    cause_session s = {
        .replay = r, .stage = first, .out = out, .arena = LVLM_ARENA_INIT
    };
    if (out == NULL) return lvlm_fail_memory(err);
    out->stage = first;
    const int rc = find(&s, manifest, err);
    lvlm_arena_free(&s.arena);
    if (rc < 0) return rc;
    first->share.own = first->error;
    r->cause = first;
    r->why = out;
    return 0;
}
