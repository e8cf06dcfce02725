/* replay_stages.c - recorded stages and gradients in order; see replay_parts.h. */
#include "verify/replay/replay_parts.h"

#include <assert.h>
#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/text.h"
#include "verify/replay/bands.h"

/* ---- stages --------------------------------------------------------------------- */

/* Stages in order of computation; "*" is a number or the remainder of the name. */
static const char *const order[] = {
    "vision.patches", "vision.embed", "vision.blocks.*", "vision.global_blocks.*",
    "vision.out",     "connector.*",  "connector.out",   "text.embed",
    "text.blocks.*",  "text.norm",    "logits",          "loss",
    "round.*",        "tokens",       "cache.*",         "step.*",
    "weights.*",
};

static size_t rank_of(const char *name)
{
    size_t best = sizeof order / sizeof order[0];
    for (size_t i = 0; i < sizeof order / sizeof order[0];
         i++) /* the last match: exact */
        if (fnmatch(order[i], name, 0) == 0) best = i;
    return best;
}

bool lvlm_replay_knows(const char *name)
{
    return rank_of(name) < sizeof order / sizeof order[0];
}

/* By place in the computation; numbered blocks by their numbers. */
static int by_computation(const void *a, const void *b)
{
    const char *x = ((const lvlm_replay_stage *)a)->name;
    const char *y = ((const lvlm_replay_stage *)b)->name;
    const size_t rx = rank_of(x), ry = rank_of(y);
    if (rx != ry) return rx < ry ? -1 : 1;
    const size_t nx = strlen(x), ny = strlen(y);
    if (strstr(x, "blocks.") != NULL && nx != ny) return nx < ny ? -1 : 1;
    return strcmp(x, y);
}

static lvlm_replay_stage make_stage(const lvlm_replay *r, const lvlm_tensor *t)
{
    lvlm_replay_stage stage = {
        .name = lvlm_recorded_name(t),
        .recorded = t,
        .rows = lvlm_recording_rows(&r->recording, t),
        .shape = t->shape,
        .verdict = LVLM_VERDICT_MISSING,
        .error = INFINITY,
        .relative_l2 = INFINITY,
        .is_gradient = lvlm_starts_with(t->name, LVLM_RECORDED_GRADIENT) ||
                       lvlm_starts_with(t->name, LVLM_RECORDED_WEIGHT),
    };
    stage.is_logits = fnmatch("logits", stage.name, 0) == 0 ||
                      lvlm_starts_with(t->name, LVLM_RECORDED_ROUND);
    lvlm_bands_default(&stage, r->is_exact, r->compute);
    return stage;
}

int lvlm_replay_list_stages(lvlm_replay *r, lvlm_error *err)
{
    assert(r->stages == NULL && r->n_stages == 0);
    const lvlm_checkpoint *const cp = r->recording.checkpoint;
    r->stages = lvlm_arena_alloc(&r->arena, cp->n_tensors, sizeof *r->stages);
    if (r->stages == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < cp->n_tensors; i++) {
        const lvlm_tensor *const t = &cp->tensors[i];
        if (lvlm_starts_with(t->name, LVLM_RECORDED_STAGE) &&
            lvlm_dtype_is_weight(t->dtype))
            r->stages[r->n_stages++] = make_stage(r, t);
    }
    qsort(r->stages, r->n_stages, sizeof *r->stages, by_computation);
    return 0;
}

lvlm_replay_stage *lvlm_replay_find(const lvlm_replay *replay, const char *name)
{
    for (size_t i = 0; i < replay->n_stages; i++)
        if (strcmp(replay->stages[i].name, name) == 0) return &replay->stages[i];
    return NULL;
}

void lvlm_replay_list(lvlm_replay *r, const lvlm_tensor *recorded)
{
    if (recorded == NULL) return;
    assert(r->n_stages < r->recording.checkpoint->n_tensors);
    r->stages[r->n_stages++] = make_stage(r, recorded);
}

/* ---- gradients and weights ------------------------------------------------------ */

/* Add a tensor, unless it is listed; `listed` has a flag per tensor of the
 * recording. */
static void add(lvlm_replay *r, bool *listed, const lvlm_tensor *t, const char *prefix)
{
    bool *const flag = &listed[t - r->recording.checkpoint->tensors];
    if (*flag || !lvlm_starts_with(t->name, prefix) || !lvlm_dtype_is_weight(t->dtype))
        return;
    *flag = true;
    lvlm_replay_list(r, t);
}

/* A source tensor, and one of its native parts. */
typedef struct place {
    const char *source;
    const lvlm_target *target;
} place;

static int last_first(const void *a, const void *b)
{
    const lvlm_target *x = ((const place *)a)->target, *y = ((const place *)b)->target;
    return x < y ? 1 : x > y ? -1 : 0;
}

static int first_first(const void *a, const void *b)
{
    return last_first(b, a);
}

int lvlm_replay_list_by_source(lvlm_replay *r, const lvlm_manifest *m,
                               const char *prefix, bool reverse, lvlm_error *err)
{
    const lvlm_checkpoint *const cp = r->recording.checkpoint;
    size_t n = 0;
    place *places =
        lvlm_arena_alloc(&r->arena, m->ledger.n_entries + 1, sizeof *places);
    bool *const listed = lvlm_arena_alloc(&r->arena, cp->n_tensors, sizeof *listed);
    if (places == NULL || listed == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < m->ledger.n_entries; i++) {
        const lvlm_ledger_entry *e = &m->ledger.entries[i];
        if (e->use != LVLM_USE_USED || e->n_targets == 0) continue;
        const char *const part = e->targets[reverse ? e->n_targets - 1 : 0];
        places[n++] = (place){ e->source.name, lvlm_manifest_find(m, part) };
    }
    qsort(places, n, sizeof *places, reverse ? last_first : first_first);
    for (size_t i = 0; i < n; i++) {
        const char *name =
            lvlm_arena_printf(&r->arena, "%s%s", prefix, places[i].source);
        if (name == NULL) return lvlm_fail_memory(err);
        const lvlm_tensor *t = lvlm_checkpoint_find(cp, name);
        if (t != NULL) add(r, listed, t, prefix);
    }
    for (size_t i = 0; i < cp->n_tensors; i++) add(r, listed, &cp->tensors[i], prefix);
    return 0;
}

int lvlm_replay_list_gradients(lvlm_replay *r, const lvlm_manifest *m, lvlm_error *err)
{
    const size_t before = r->n_stages;
    TRY(lvlm_replay_list_by_source(r, m, LVLM_RECORDED_GRADIENT, true, err));
    FAIL_IF(r->n_stages == before, err, LVLM_EFORMAT,
            "%s: records no gradient (no tensor is called " LVLM_RECORDED_GRADIENT "*)",
            r->golden);
    return 0;
}
