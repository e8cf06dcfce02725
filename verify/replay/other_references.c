/* other_references.c - tries the behaviours of a family; see other_references.h. */
#include "verify/replay/other_references.h"

#include <stdio.h>

enum { REFERENCE = 64, MOST = 64 };

/* The version that recordings here were made with, and one before all differences that
 * ended. */
#define NEWEST "5.23.0"
#define OLDEST "4.41"

/* What was tried: a bit for each difference of the family that is in force. */
typedef struct tries {
    const lvlm_family *family;
    uint64_t done[MOST];
    size_t n;
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

static int try_version(lvlm_replay *r, tries *t, const char *version,
                       const lvlm_replay_options *options, lvlm_error *err)
{
    lvlm_replay_options again = *options;
    lvlm_replay other;
    char reference[REFERENCE];
    if (version == NULL || r->agrees_with != NULL) return 0;
    (void)snprintf(reference, sizeof reference, "transformers-%s", version);
    if (!is_new(t, reference)) return 0;
    again.reference = reference;
    again.notes = NULL; /* the first replay has made them */
    again.depth = LVLM_REPLAY_VERDICTS;
    lvlm_error refusal;
    const int rc = lvlm_replay_run(&other, r->model, r->golden, &again, &refusal);
    /* one that refuses these inputs did not make the recording */
    if (rc < 0 && rc != LVLM_EFORMAT) return lvlm_fail(err, rc, "%s", refusal.text);
    const bool agrees = rc == 0 && other.n_failed == 0;
    if (rc == 0) lvlm_replay_free(&other);
    r->n_tried++;
    if (!agrees) return 0;
    r->agrees_with = lvlm_arena_printf(&r->arena, "%s", reference);
    return r->agrees_with != NULL ? 0 : lvlm_fail_memory(err);
}

int lvlm_try_references(lvlm_replay *r, const lvlm_replay_options *options,
                        lvlm_error *err)
{
    tries t = { .family = lvlm_family_by_name(r->family) };
    if (r->n_failed == 0 || r->recording.reference != NULL ||
        options->reference != NULL || lvlm_replay_is_foreign(r))
        return 0;
    (void)is_new(&t, LVLM_REFERENCE_TRAINED);
    TRY(try_version(r, &t, NEWEST, options, err));
    for (const lvlm_difference *d = t.family->differences;
         d->behaviour != LVLM_AS_TRAINED; d++) {
        TRY(try_version(r, &t, d->since, options, err));
        TRY(try_version(r, &t, d->until, options, err));
    }
    return try_version(r, &t, OLDEST, options, err);
}
