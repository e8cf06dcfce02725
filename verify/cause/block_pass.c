/* block_pass.c - see block_pass.h. */
#include "verify/cause/block_pass.h"

#include <string.h>

#include "formats/base/text.h"
#include "formats/container/numeric.h"
#include "verify/replay/own.h"
#include "verify/replay/replay_parts.h"

static bool wants(void *user, const lvlm_replay_stage *stage)
{
    return stage == ((const block_pass *)user)->s->stage;
}

static int take(void *user, const lvlm_replay_stage *stage, const lvlm_tensor *got,
                lvlm_error *err)
{
    block_pass *const p = user;
    (void)stage, (void)err;
    cause_read_rows(p->y, p->s, got, p->at, p->R);
    return 0;
}

static void enter(void *user, const lvlm_replay_stage *stage, const lvlm_tensor *given,
                  void *values)
{
    const block_pass *const p = user;
    const size_t row = p->C * lvlm_dtype_bytes(given->dtype);
    unsigned char *const bytes = values;
    if (p->z == NULL || stage != p->from) return;
    for (size_t r = 0; r < p->R; r++) {
        const size_t place = p->s->places[p->at != NULL ? p->at[r] : r];
        lvlm_convert_values(bytes + place * row, given->dtype, p->z + r * p->C,
                            LVLM_F64, p->C);
    }
}

int block_pass_run(block_pass *p, lvlm_model *model, lvlm_error *err)
{
    const lvlm_given_pass pass = {
        .replay = p->s->replay, .wants = wants, .take = take, .alters = enter, .user = p
    };
    return lvlm_given_pass_run(&pass, model, err);
}

int block_pass_once(block_pass *p, lvlm_error *err)
{
    cause_session *const s = p->s;
    lvlm_model *model = NULL;
    int rc = lvlm_model_bind(&model, &s->changed.manifest, &s->options, err);
    if (rc == 0) rc = block_pass_run(p, model, err);
    lvlm_model_free(model);
    return rc < 0 ? rc : variant_reset(&s->changed, err);
}

const lvlm_target *block_feed(const cause_session *s, const char *globs)
{
    for (size_t i = 0; i < s->n_feeds; i++)
        if (lvlm_matches_listed(globs, s->feeds[i]->name)) return s->feeds[i];
    return NULL;
}

int block_clear(cause_session *s, const char *globs, lvlm_error *err)
{
    for (size_t i = 0; i < s->n_feeds; i++) {
        const lvlm_target *const t = s->feeds[i];
        if (!lvlm_matches_listed(globs, t->name)) continue;
        double *const x = variant_values(&s->changed, t);
        if (x == NULL) return lvlm_fail_memory(err);
        memset(x, 0, (size_t)lvlm_tensor_numel(t->here.tensor) * sizeof *x);
    }
    return 0;
}

bool block_pass_of(block_pass *p, cause_session *s)
{
    *p = (block_pass){ .s = s, .C = s->C };
    if (s->n_span != 1 || strstr(s->stage->name, "blocks.") == NULL ||
        s->stage->share.from == NULL)
        return false;
    p->from = lvlm_replay_find(s->replay, s->stage->share.from);
    return lvlm_shape_equal(&p->from->recorded->shape, &s->stage->recorded->shape);
}
