/* api_replay.c - proofs of lvlm.h: a replay, and its verdict as a code. */
#include <math.h>

#include "verify/api/api.h"
#include "verify/replay/replay.h"

static lvlm_parity summary_of(const lvlm_replay *replay)
{
    lvlm_parity sum = { replay->n_stages, replay->n_failed, replay->is_exact, 0 };
    for (size_t i = 0; i < replay->n_stages; i++)
        if (lvlm_verdict_compared(replay->stages[i].verdict))
            sum.error = fmax(sum.error, replay->stages[i].error);
    return sum;
}

static int judge(const lvlm_replay *replay, lvlm_error *err)
{
    const lvlm_replay_stage *const bad = replay->first_bad;
    if (replay->n_failed == 0 || bad == NULL) return 0;
    return lvlm_fail(
        err, LVLM_ECHECK,
        "%s: %zu of %zu stages failed, first %s: %s, error %.3g, band %.3g",
        replay->golden, replay->n_failed, replay->n_stages, bad->name,
        lvlm_verdict_name(bad->verdict), bad->error, bad->band);
}

int lvlm_replay_recording(lvlm_parity *out, const char *model, const char *recording,
                          const lvlm_parity_options *options, lvlm_error *err)
{
    static const lvlm_parity_options plain;
    const lvlm_parity_options *const o = options != NULL ? options : &plain;
    api_notes notes = { LVLM_NOTES_INIT, o->note, o->user };
    const lvlm_replay_options chosen = { .grads = o->gradients,
                                         .threads = api_threads(o->threads),
                                         .notes = &notes.list };
    lvlm_replay replay;
    lvlm_parity found = { 0, 0, false, 0 };
    int rc = lvlm_replay_run(&replay, model, recording, &chosen, err);
    if (rc == 0) {
        found = summary_of(&replay);
        rc = judge(&replay, err);
        lvlm_replay_free(&replay);
    }
    if (out != NULL && (rc == 0 || rc == LVLM_ECHECK)) *out = found;
    api_notes_end(&notes);
    return rc;
}
