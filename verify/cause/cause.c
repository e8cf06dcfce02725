/* cause.c - the search for the cause of a stage's own error; see cause.h.
 *
 *   stage -> tensors that feed it -> rows as computed and as recorded -> signs
 *         -> tensors by themselves -> known mistakes, undone one by one */
#include "verify/cause/cause.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/container/numeric.h"
#include "formats/container/side_file.h"
#include "formats/native/native.h"
#include "verify/cause/trial.h"
#include "verify/replay/own.h"

enum { SENTENCE = 1024, SMALL = 1 << 26, FEWEST = 32 };

#define MOST_WORK (UINT64_C(1) << 42) /* of all tries: a minute or two */

/* ---- the rows of the stage ------------------------------------------------------- */

typedef struct meeting {
    cause_session *s;
    const char **names; /* all stages of the model, in order */
    size_t n, room;
    bool failed; /* out of memory */
} meeting;

static bool wants(void *user, const lvlm_replay_stage *stage)
{
    return stage == ((const meeting *)user)->s->stage;
}

static void meets(void *user, const char *name, const lvlm_replay_stage *stage)
{
    meeting *const m = user;
    (void)stage;
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->names[i], name) == 0) return;
    lvlm_arena *const arena = &m->s->arena;
    const char *const copy = lvlm_arena_strndup(arena, name, strlen(name));
    const char **const names =
        lvlm_arena_room(arena, m->names, m->n, &m->room, sizeof *names);
    m->failed |= copy == NULL || names == NULL;
    if (m->failed) return;
    m->names = names;
    m->names[m->n++] = copy;
}

static int make_room(cause_session *s, const lvlm_shape *shape, lvlm_error *err)
{
    uint64_t rows = 1;
    s->C = shape->n > 0 ? (size_t)shape->dims[shape->n - 1] : 1;
    for (size_t i = 0; i + 1 < shape->n; i++) rows *= shape->dims[i];
    const size_t n = (size_t)rows * s->C;
    s->got = lvlm_calloc(2 * n + 1, sizeof *s->got);
    s->places = lvlm_calloc((size_t)rows + 1, sizeof *s->places);
    if (s->got == NULL || s->places == NULL) return lvlm_fail_memory(err);
    s->want = s->got + n;
    return 0;
}

void cause_read_rows(double *to, const cause_session *s, const lvlm_tensor *from,
                     const size_t *at, size_t n)
{
    const size_t row = s->C * lvlm_dtype_bytes(from->dtype);
    for (size_t i = 0; i < n; i++) {
        const size_t place = s->places[at != NULL ? at[i] : i];
        lvlm_convert_values(to + i * s->C, LVLM_F64, from->data + place * row,
                            from->dtype, s->C);
    }
}

/* Keep the rows that are compared. */
static int take(void *user, const lvlm_replay_stage *stage, const lvlm_tensor *got,
                lvlm_error *err)
{
    cause_session *const s = ((const meeting *)user)->s;
    TRY(make_room(s, &stage->shape, err));
    const lvlm_tensor *const want = stage->recorded;
    const size_t want_row = s->C * lvlm_dtype_bytes(want->dtype);
    const size_t n = s->C > 0 ? (size_t)lvlm_tensor_numel(want) / s->C : 0;
    for (size_t i = 0; i < n; i++) {
        if (!lvlm_row_counts(&stage->rows, i)) continue;
        s->places[s->R] = lvlm_row_place(&stage->rows, i);
        lvlm_convert_values(s->want + s->R * s->C, LVLM_F64, want->data + i * want_row,
                            want->dtype, s->C);
        s->R++;
    }
    cause_read_rows(s->got, s, got, NULL, s->R);
    return 0;
}

/* ---- the result ------------------------------------------------------------------ */

int cause_say(cause_session *s, const char ***list, size_t *n, lvlm_error *err,
              const char *fmt, ...)
{
    enum { MOST = 16 };
    char text[SENTENCE];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (*n == MOST) return 0;
    if (*list == NULL) *list = lvlm_arena_alloc(&s->replay->arena, MOST, sizeof **list);
    if (*list == NULL) return lvlm_fail_memory(err);
    (*list)[*n] = lvlm_arena_strndup(&s->replay->arena, text, strlen(text));
    return (*list)[(*n)++] != NULL ? 0 : lvlm_fail_memory(err);
}

/* For the result; NULL of NULL. */
static int keep(const char **out, cause_session *s, const char *text, lvlm_error *err)
{
    *out =
        text != NULL ? lvlm_arena_strndup(&s->replay->arena, text, strlen(text)) : NULL;
    return *out != NULL || text == NULL ? 0 : lvlm_fail_memory(err);
}

int cause_list_tensors(cause_session *s, lvlm_error *err)
{
    lvlm_cause *const out = s->out;
    out->tensors =
        lvlm_arena_alloc(&s->replay->arena, s->n_feeds + 1, sizeof *out->tensors);
    if (out->tensors == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < s->n_feeds; i++) {
        const lvlm_target *const t = s->feeds[i];
        const lvlm_checkpoint *const cp = s->manifest->checkpoint;
        const char *const digest = cp->kind == LVLM_CHECKPOINT_NATIVE
                                       ? lvlm_native_digest_of(cp, t->here.tensor)
                                       : NULL;
        lvlm_cause_tensor *const kept = &out->tensors[out->n_tensors++];
        kept->dtype = t->here.tensor->dtype;
        kept->shape = t->here.tensor->shape;
        TRY(keep(&kept->name, s, t->name, err));
        TRY(keep(&kept->source, s, t->source_name, err));
        TRY(keep(&kept->digest, s, digest, err));
    }
    return 0;
}

/* Stages of the recording that the model lacks. */
static int say_missing(cause_session *s, lvlm_error *err)
{
    const lvlm_replay_stage *first = NULL;
    size_t n = 0;
    for (size_t i = 0; i < s->replay->n_stages; i++) {
        const lvlm_replay_stage *const stage = &s->replay->stages[i];
        if (stage->verdict != LVLM_VERDICT_MISSING) continue;
        if (n++ == 0) first = stage;
    }
    if (n == 0) return 0;
    return CAUSE_SAY_SIGN(
        s, err,
        "the recording has %zu stage%s that this model does not compute, "
        "first %s: blocks are lost, or config.json counts fewer or "
        "ends at an earlier one",
        n, n == 1 ? "" : "s", first->name);
}

/* ---- the search ------------------------------------------------------------------ */

static int try_mistakes(cause_session *s, bool relations, lvlm_error *err)
{
    TRY(cause_try_settings(s, relations, err));
    TRY(cause_try_others(s, relations, err));
    TRY(cause_try_orders(s, relations, err));
    return cause_try_values(s, relations, err);
}

/* Numbers that no table has. */
static int fit_numbers(cause_session *s, bool relations, lvlm_error *err)
{
    TRY(cause_fit_settings(s, relations, err));
    return cause_fit_values(s, relations, err);
}

/* Mistakes of the kind that the rows show first; the others if none of those agrees. */
int cause_search(cause_session *s, lvlm_error *err)
{
    lvlm_cause *const out = s->out;
    for (int i = 0; i < 2 && !cause_is_found(s); i++)
        TRY(try_mistakes(s, s->only_relations == (i == 0), err));
    for (int i = 0; i < 2 && !cause_is_found(s); i++)
        TRY(fit_numbers(s, s->only_relations == (i == 0), err));
    /* of several that settle this stage, those that settle most of the others */
    while (cause_is_found(s) && out->candidates[out->n_candidates - 1].n_settled <
                                    out->candidates[0].n_settled)
        out->n_candidates--;
    return 0;
}

/* Starting threads takes longer than a small stage; of a large one not every mistake is
 * tried. */
static void plan_tries(cause_session *s)
{
    const uint64_t work = cause_work(s);
    if (work < SMALL) s->options.threads = 1;
    s->most_tries = (size_t)(MOST_WORK / work) + FEWEST;
}

static int find(cause_session *s, lvlm_error *err)
{
    meeting m = { .s = s };
    const lvlm_given_pass pass = {
        .replay = s->replay, .wants = wants, .take = take, .meets = meets, .user = &m
    };
    lvlm_model *again = NULL;
    TRY(lvlm_side_file_json(&s->source_config, s->manifest->checkpoint, "config.json",
                            err));
    TRY(lvlm_model_bind(&again, s->manifest, &s->options, err));
    const int rc = lvlm_given_pass_run(&pass, again, err);
    lvlm_model_free(again);
    if (rc < 0) return rc;
    if (m.failed) return lvlm_fail_memory(err);
    cause_find_feeds(s, m.names, m.n);
    plan_tries(s);
    TRY(cause_list_tensors(s, err));
    TRY(cause_find_signs(s, err));
    TRY(say_missing(s, err));
    TRY(cause_find_weights(s, err));
    TRY(variant_make(&s->changed, s->manifest, err));
    TRY(cause_search(s, err));
    if (!cause_is_found(s)) TRY(cause_find_pair(s, err));
    if (cause_is_found(s)) return 0;
    TRY(cause_find_number(s, err));
    return cause_find_heads(s, err);
}

int lvlm_cause_find(lvlm_replay *r, const lvlm_model *model,
                    const lvlm_model_options *options, lvlm_error *err)
{
    cause_session *const s = lvlm_calloc(1, sizeof *s);
    lvlm_cause *const out = lvlm_arena_alloc(&r->arena, 1, sizeof *out);
    int rc;
    assert(r->cause != NULL && options->trains == NULL);
    if (s == NULL || out == NULL) {
        lvlm_free(s);
        return lvlm_fail_memory(err);
    }
    *s = (cause_session){ .replay = r,
                          .stage = r->cause,
                          .manifest = lvlm_model_manifest(model),
                          .options = *options,
                          .out = out,
                          .arena = LVLM_ARENA_INIT };
    out->stage = r->cause;
    for (size_t i = 0; i < r->n_stages; i++)
        out->n_causes += r->stages[i].share.is_cause;
    if ((rc = find(s, err)) == 0) r->why = out;
    variant_free(&s->changed);
    lvlm_json_free(s->source_config);
    lvlm_free(s->got);
    lvlm_free(s->places);
    lvlm_arena_free(&s->arena);
    lvlm_free(s);
    return rc;
}
