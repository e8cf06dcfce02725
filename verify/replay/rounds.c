/* rounds.c - recorded greedy tokens, one round each; see replay_parts.h.
 *
 *   in. -> session -> logits of the next token -> round.I.logits, the token chosen
 *            ^------- the recorded token ------------------'
 *
 * Each round continues the recorded text, whatever is chosen here, so that one
 * difference is not followed by others. After the last one the cache has a row for
 * every token that was read: cache.BLOCK.keys and .values. */
#include "verify/replay/replay_parts.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/text.h"
#include "formats/container/numeric.h"
#include "runtime/batch/input_tensor.h"
#include "runtime/generate/generation_config.h"
#include "runtime/generate/session.h"
#include "verify/replay/bands.h"

enum { NAME_BYTES = 64 };

typedef struct text {
    lvlm_replay *replay;
    lvlm_session *session;
    lvlm_generation settings;
    size_t vocab;
    double *ours, *theirs; /* (vocab) logits, penalised; owned, one array */
    bool *held;            /* (vocab) tokens of the text; owned */
} text;

/* The block of "cache.3.keys" or "cache.3.values"; SIZE_MAX: it is not such a name. */
static size_t block_of(const char *name, bool *keys)
{
    char again[NAME_BYTES], *end;
    const size_t block = strtoull(name + strlen(LVLM_RECORDED_CACHE), &end, 10);
    *keys = strcmp(end, ".keys") == 0;
    (void)snprintf(again, sizeof again, LVLM_RECORDED_CACHE "%zu.%s", block,
                   *keys ? "keys" : "values");
    return strcmp(again, name) == 0 ? block : SIZE_MAX;
}

static int by_block(const void *a, const void *b)
{
    const char *const x = ((const lvlm_replay_stage *)a)->name;
    const char *const y = ((const lvlm_replay_stage *)b)->name;
    bool keys;
    const size_t i = block_of(x, &keys), k = block_of(y, &keys);
    if (i != k) return i < k ? -1 : 1;
    return strcmp(x, y);
}

static const char *name_of(char out[NAME_BYTES], size_t round)
{
    (void)snprintf(out, NAME_BYTES, LVLM_RECORDED_ROUND "%zu.logits", round);
    return out;
}

/* Blocks in order; names that are none of a block's at the end. */
static void list_cache(lvlm_replay *r)
{
    const lvlm_checkpoint *const cp = r->recording.checkpoint;
    const size_t first = r->n_stages;
    for (size_t i = 0; i < cp->n_tensors; i++)
        if (lvlm_starts_with(cp->tensors[i].name, LVLM_RECORDED_CACHE) &&
            lvlm_dtype_is_weight(cp->tensors[i].dtype))
            lvlm_replay_list(r, &cp->tensors[i]);
    qsort(r->stages + first, r->n_stages - first, sizeof *r->stages, by_block);
}

void lvlm_replay_list_rounds(lvlm_replay *r)
{
    const lvlm_tensor *const tokens = r->recording.tokens;
    char name[NAME_BYTES];
    if (tokens != NULL) {
        for (size_t i = 0; i < (size_t)tokens->shape.dims[0]; i++)
            lvlm_replay_list(r, lvlm_recording_find(&r->recording, name_of(name, i)));
        lvlm_replay_list(r, tokens);
    }
    list_cache(r); /* without tokens it is missing here */
}

/* ---- one round ------------------------------------------------------------------ */

static void hold(const text *t, int64_t id)
{
    if (id >= 0 && (uint64_t)id < t->vocab) t->held[id] = true;
}

/* As sampler.h has it, but in double. */
static void penalise(const text *t, double *logits)
{
    const double p = t->settings.sampling.penalty;
    for (size_t i = 0; p != 1 && i < t->vocab; i++)
        if (t->held[i]) logits[i] = logits[i] > 0 ? logits[i] / p : logits[i] * p;
}

static int64_t largest(const double *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return (int64_t)best;
}

/* The token that is chosen here; its logits are compared with the recorded ones, whose
 * values are in t->theirs then. */
static int compute_round(text *t, size_t round, int64_t *chosen, bool *recorded,
                         lvlm_error *err)
{
    char name[NAME_BYTES];
    lvlm_tensor logits = lvlm_session_logits(t->session);
    lvlm_replay_stage *const stage = lvlm_replay_find(t->replay, name_of(name, round));
    *recorded = false;
    if (stage != NULL) {
        TRY(lvlm_judge_computed(stage, &logits, stage->recorded, t->replay->is_exact,
                                err));
        *recorded = lvlm_shape_equal(&logits.shape, &stage->shape);
    }
    if (*recorded) {
        lvlm_convert_values(t->theirs, LVLM_F64, stage->recorded->data,
                            stage->recorded->dtype, t->vocab);
        penalise(t, t->theirs);
    }
    lvlm_convert_values(t->ours, LVLM_F64, logits.data, logits.dtype, t->vocab);
    penalise(t, t->ours);
    *chosen = largest(t->ours, t->vocab);
    return 0;
}

/* Count a round that chooses another token, and keep the first: a difference rather
 * than a near tie. */
static void note_other(text *t, size_t round, int64_t recorded, int64_t computed,
                       bool has_logits)
{
    lvlm_replay_tokens *const all = &t->replay->tokens;
    char name[NAME_BYTES];
    const lvlm_replay_stage *const stage =
        has_logits ? lvlm_replay_find(t->replay, name_of(name, round)) : NULL;
    double tie = t->replay->is_exact ? LVLM_TIE_EXACT : LVLM_TIE_F32;
    if (stage != NULL && lvlm_verdict_passes(stage->verdict))
        tie = fmax(tie, 2 * stage->found.distance.max_abs);
    const bool known = recorded >= 0 && (uint64_t)recorded < t->vocab;
    lvlm_other_token other = { .round = round,
                               .recorded = recorded,
                               .computed = computed,
                               .recorded_gap = NAN,
                               .computed_gap = INFINITY };
    if (known) other.computed_gap = t->ours[computed] - t->ours[recorded];
    if (known && has_logits)
        other.recorded_gap = t->theirs[recorded] - t->theirs[computed];
    other.is_tie = other.computed_gap <= tie && !(other.recorded_gap > tie);
    if (all->n_others == 0 || (all->first.is_tie && !other.is_tie)) all->first = other;
    all->n_others++;
    all->n_ties += other.is_tie;
}

/* ---- the cache ------------------------------------------------------------------ */

/* Keys and values of every token that was read, those of earlier rounds among them. */
static int compare_cache(const text *t, lvlm_error *err)
{
    lvlm_replay *const r = t->replay;
    for (size_t i = 0; i < r->n_stages; i++) {
        lvlm_replay_stage *const stage = &r->stages[i];
        lvlm_tensor keys, values;
        bool keeps_keys;
        if (!lvlm_starts_with(stage->name, LVLM_RECORDED_CACHE) ||
            !lvlm_session_cached(t->session, &keys, &values,
                                 block_of(stage->name, &keeps_keys)))
            continue;
        TRY(lvlm_judge_computed(stage, keeps_keys ? &keys : &values, stage->recorded,
                                r->is_exact, err));
    }
    return 0;
}

/* ---- all rounds ----------------------------------------------------------------- */

static int run_rounds(text *t, lvlm_error *err)
{
    const lvlm_tensor *const tokens = t->replay->recording.tokens;
    int64_t previous = -1;
    t->replay->tokens.n = (size_t)tokens->shape.dims[0];
    for (size_t i = 0; i < t->replay->tokens.n; i++) {
        const int64_t recorded = lvlm_input_integer(tokens, i);
        int64_t chosen;
        bool has_logits = false;
        if (lvlm_generation_forces(&chosen, &t->settings, previous)) {
            if (chosen != recorded) note_other(t, i, recorded, chosen, false);
        } else {
            if (i > 0) TRY(lvlm_session_step(t->session, previous, err));
            TRY(compute_round(t, i, &chosen, &has_logits, err));
            if (chosen != recorded) note_other(t, i, recorded, chosen, has_logits);
        }
        hold(t, recorded);
        previous = recorded;
    }
    return 0;
}

static int begin(text *t, lvlm_model *model, lvlm_error *err)
{
    const lvlm_checkpoint *const cp = t->replay->recording.checkpoint;
    size_t n;
    TRY(lvlm_generation_read(&t->settings, lvlm_model_manifest(model), err));
    if (t->replay->recording.penalty > 0)
        t->settings.sampling.penalty = t->replay->recording.penalty;
    TRY(lvlm_session_begin(&t->session, model, cp, LVLM_RECORDED_INPUT, NULL, err));
    t->vocab = (size_t)lvlm_session_logits(t->session).shape.dims[0];
    t->ours = lvlm_calloc(t->vocab, 2 * sizeof *t->ours);
    t->held = lvlm_calloc(t->vocab, sizeof *t->held);
    if (t->ours == NULL || t->held == NULL) return lvlm_fail_memory(err);
    t->theirs = t->ours + t->vocab;
    const int64_t *const ids = lvlm_session_tokens(t->session, &n);
    for (size_t i = 0; i < n; i++) hold(t, ids[i]);
    return 0;
}

/* The verdict on the tokens themselves. */
static void judge(lvlm_replay *r)
{
    lvlm_replay_stage *const stage = lvlm_replay_find(r, LVLM_RECORDED_TOKENS);
    const lvlm_replay_tokens *const t = &r->tokens;
    assert(stage != NULL && t->n > 0);
    stage->got = stage->shape;
    stage->found = (lvlm_stage_error){ .n_rows = t->n };
    stage->band = 0;
    stage->error = stage->relative_l2 = (double)t->n_others / (double)t->n;
    stage->verdict = t->n_others > t->n_ties ? LVLM_VERDICT_OUT
                     : t->n_others > 0       ? LVLM_VERDICT_ROUNDING
                     : r->is_exact           ? LVLM_VERDICT_EXACT
                                             : LVLM_VERDICT_OK;
}

static int note_first(const lvlm_replay *r, lvlm_notes *notes, lvlm_error *err)
{
    const lvlm_other_token *const f = &r->tokens.first;
    char theirs[48] = "is not recorded";
    if (r->tokens.n_others == 0) return 0;
    if (!isnan(f->recorded_gap))
        (void)snprintf(theirs, sizeof theirs, "%.3g", f->recorded_gap);
    return lvlm_notes_add(
        notes, err,
        "tokens: %zu of %zu rounds choose another one; round %zu chooses %" PRId64
        " in place of %" PRId64 ", with a logit above it by %.3g; the reference's gap "
        "the other way: %s: %s",
        r->tokens.n_others, r->tokens.n, f->round, f->computed, f->recorded,
        f->computed_gap, theirs, f->is_tie ? "a near tie" : "a difference");
}

int lvlm_replay_rounds(lvlm_replay *r, lvlm_model *model, lvlm_notes *notes,
                       lvlm_error *err)
{
    text t = { .replay = r };
    if (r->recording.tokens == NULL) return 0;
    int rc = begin(&t, model, err);
    if (rc == 0) rc = run_rounds(&t, err);
    if (rc == 0) rc = compare_cache(&t, err);
    lvlm_session_end(t.session);
    lvlm_free(t.ours);
    lvlm_free(t.held);
    TRY(lvlm_within(rc, err, "tokens: "));
    judge(r);
    return note_first(r, notes, err);
}
