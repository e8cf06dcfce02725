/* other_references.c - tries the behaviours of a family; see other_references.h.
 *
 *   the first stage that fails, from the recorded one before it: one block
 *     -> if it agrees, a whole replay */
#include "verify/replay/other_references.h"

#include <stdio.h>

#include "verify/replay/own.h"
#include "verify/replay/replay_parts.h"

enum { REFERENCE = 64, MOST = 64 };

/* The version that recordings here were made with, and one before all differences that
 * ended. */
#define NEWEST "5.23.0"
#define OLDEST "4.41"

/* What was tried: a bit for each difference of the family that is in force. */
typedef struct tries {
    lvlm_replay *replay;
    const lvlm_replay_options *options;
    const lvlm_manifest *manifest; /* of the model */
    const lvlm_family *family;
    uint64_t done[MOST];
    size_t n;
    bool agrees; /* of one try: the first stage that fails */
} tries;

/* Does `reference` compute something that was not tried? */
static bool is_new(tries *t, const char *reference)
{
    const uint64_t bits = lvlm_reference_behaviours(t->family, reference);
    for (size_t i = 0; i < t->n; i++)
        if (t->done[i] == bits) return false;
    if (t->n == MOST) return false;
    t->done[t->n++] = bits;
    return true;
}

/* ---- one stage ------------------------------------------------------------------- */

static bool wants(void *user, const lvlm_replay_stage *stage)
{
    return stage == ((const tries *)user)->replay->first_bad;
}

static int take(void *user, const lvlm_replay_stage *stage, const lvlm_tensor *got,
                lvlm_error *err)
{
    tries *const t = user;
    lvlm_stage_error found;
    if (!lvlm_stages_fit(&got->shape, &stage->shape, &stage->rows)) return 0;
    TRY(lvlm_stage_compare(&found, got, stage->recorded, &stage->rows, stage->is_logits,
                           err));
    t->agrees = lvlm_judged_error(stage, &found) <= lvlm_own_limit(stage);
    return 0;
}

/* Can it be that the recording has this behaviour? One that refuses these inputs did
 * not make it. */
static int is_possible(bool *out, tries *t, const char *reference, lvlm_error *err)
{
    const lvlm_replay_stage *const bad = t->replay->first_bad;
    const lvlm_given_pass pass = {
        .replay = t->replay, .wants = wants, .take = take, .user = t
    };
    lvlm_model_options options = lvlm_replay_model_options(t->replay, t->options);
    lvlm_model *model = NULL;
    *out = true;
    if (bad->verdict != LVLM_VERDICT_OUT || bad->is_gradient) return 0;
    options.reference = reference;
    options.check = false;
    options.trains = NULL;
    options.notes = NULL;
    t->agrees = false;
    int rc = lvlm_model_bind(&model, t->manifest, &options, err);
    if (rc == 0) rc = lvlm_given_pass_run(&pass, model, err);
    lvlm_model_free(model);
    *out = rc == 0 && t->agrees;
    return rc == LVLM_EFORMAT ? 0 : rc;
}

/* ---- all of it ------------------------------------------------------------------- */

static int replay_all(bool *agrees, const tries *t, const char *reference,
                      lvlm_error *err)
{
    lvlm_replay_options again = *t->options;
    lvlm_replay other;
    lvlm_error refusal;
    again.reference = reference;
    again.notes = NULL; /* the first replay has made them */
    again.depth = LVLM_REPLAY_VERDICTS;
    again.checked = true; /* by the first replay */
    const int rc =
        lvlm_replay_run(&other, t->replay->model, t->replay->golden, &again, &refusal);
    if (rc < 0 && rc != LVLM_EFORMAT) return lvlm_fail(err, rc, "%s", refusal.text);
    *agrees = rc == 0 && other.n_failed == 0;
    if (rc == 0) lvlm_replay_free(&other);
    return 0;
}

static int try_version(tries *t, const char *version, lvlm_error *err)
{
    lvlm_replay *const r = t->replay;
    char reference[REFERENCE];
    bool agrees;
    if (version == NULL || r->agrees_with != NULL) return 0;
    (void)snprintf(reference, sizeof reference, "transformers-%s", version);
    if (!is_new(t, reference)) return 0;
    r->n_tried++;
    TRY(is_possible(&agrees, t, reference, err));
    if (agrees) TRY(replay_all(&agrees, t, reference, err));
    if (!agrees) return 0;
    r->agrees_with = lvlm_arena_printf(&r->arena, "%s", reference);
    return r->agrees_with != NULL ? 0 : lvlm_fail_memory(err);
}

static int try_all(tries *t, lvlm_error *err)
{
    (void)is_new(t, LVLM_REFERENCE_TRAINED);
    TRY(try_version(t, NEWEST, err));
    for (const lvlm_difference *d = t->family->differences;
         d->behaviour != LVLM_AS_TRAINED; d++) {
        TRY(try_version(t, d->since, err));
        TRY(try_version(t, d->until, err));
    }
    return try_version(t, OLDEST, err);
}

int lvlm_try_references(lvlm_replay *r, const lvlm_replay_options *options,
                        lvlm_error *err)
{
    tries t = { .replay = r,
                .options = options,
                .family = lvlm_family_by_name(r->family) };
    lvlm_manifest manifest = { 0 };
    lvlm_checkpoint *checkpoint = NULL;
    if (r->n_failed == 0 || r->recording.reference != NULL ||
        options->reference != NULL || lvlm_replay_is_foreign(r))
        return 0;
    int rc = lvlm_manifest_open(&manifest, &checkpoint, r->model, NULL, err);
    t.manifest = &manifest;
    if (rc == 0 && r->layers > 0) rc = lvlm_manifest_cut(&manifest, r->layers, err);
    if (rc == 0) rc = try_all(&t, err);
    lvlm_manifest_free(&manifest);
    lvlm_checkpoint_close(checkpoint);
    return rc;
}
