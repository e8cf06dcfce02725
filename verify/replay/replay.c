/* replay.c - compares a model's stages with recorded ones while they are computed.
 *
 *   recording -> stages in order of computation, each with its band
 *   pass      -> sink: find the stage, compare it row by row
 *   judge     -> stages out of their bands get a second look (second_look.c)
 *
 * Only the sums and the worst rows of a stage are kept, unless it is out of its
 * band. */
#include "verify/replay/replay.h"

#include <string.h>

#include "formats/base/text.h"
#include "formats/checkpoint/source_digest.h"
#include "verify/replay/bands.h"
#include "verify/replay/coarse.h"
#include "verify/replay/coverage.h"
#include "verify/replay/other_references.h"
#include "verify/replay/own.h"
#include "verify/replay/replay_parts.h"

typedef struct session {
    lvlm_replay *replay;
    const lvlm_replay_options *options;
    lvlm_stage_list kept; /* stages that are out of their bands, as computed */
} session;

/* ---- the sink ------------------------------------------------------------------- */

static int take(void *user, const lvlm_tensor *got, lvlm_error *err)
{
    session *const s = user;
    lvlm_replay_stage *const stage = lvlm_replay_find(s->replay, got->name);
    if (stage == NULL) return 0;
    TRY(lvlm_judge_computed(stage, got, stage->recorded, s->replay->is_exact, err));
    /* a gradient is judged again once all are there */
    if (stage->verdict != LVLM_VERDICT_OUT || stage->band_given) return 0;
    return lvlm_stage_list_add(&s->kept, got, err);
}

static bool wants(void *user, const char *name)
{
    lvlm_replay *const r = ((const session *)user)->replay;
    if (lvlm_replay_find(r, name) != NULL) return true;
    if (!lvlm_starts_with(name, LVLM_RECORDED_GRADIENT)) lvlm_coverage_skip(r, name);
    return false;
}

static void progress(void *user, size_t done, size_t total)
{
    const session *s = user;
    if (s->options->progress != NULL)
        s->options->progress(s->options->user, done, total);
}

/* ---- the run -------------------------------------------------------------------- */

/* Note if the recording is of another checkpoint than the one that this model exports
 * to. */
static int check_source(const session *s, const lvlm_manifest *m, lvlm_error *err)
{
    lvlm_replay *const r = s->replay;
    if (r->recording.source == NULL) return 0;
    TRY(lvlm_source_digest(r->source, m, err));
    if (r->source[0] == '\0' || strcmp(r->source, r->recording.source) == 0) return 0;
    return lvlm_notes_add(
        s->options->notes, err,
        "recording: was made of another checkpoint: its tensors have "
        "the digest %.16s..., those that this model gives back %.16s...",
        r->recording.source, r->source);
}

/* Note that only a part of the model is computed. */
static int note_layers(const session *s, lvlm_error *err)
{
    const size_t layers = s->replay->layers;
    if (layers == 0) return 0;
    return lvlm_notes_add(
        s->options->notes, err, "only the first %zu decoder block%s computed, as %s",
        layers, layers == 1 ? " is" : "s are",
        s->replay->recording.layers > 0 ? "in the recording" : "--layers says");
}

/* Compare what the recording says about itself with this model and run. */
static int check_match(const session *s, const lvlm_model *model, lvlm_error *err)
{
    const lvlm_recording *const rec = &s->replay->recording;
    size_t n_gradients = 0;
    if (rec->training != NULL && !s->options->steps)
        TRY(lvlm_notes_add(s->options->notes, err,
                           "recording: its training steps are not compared without "
                           "--steps"));
    if (rec->family == NULL || strcmp(rec->family, s->replay->family) == 0)
        TRY(check_source(s, lvlm_model_manifest(model), err));
    for (size_t i = 0; i < rec->checkpoint->n_tensors; i++)
        n_gradients += strncmp(rec->checkpoint->tensors[i].name, LVLM_RECORDED_GRADIENT,
                               strlen(LVLM_RECORDED_GRADIENT)) == 0;
    if (s->options->grads || n_gradients == 0) return 0;
    return lvlm_notes_add(s->options->notes, err,
                          "recording: %zu gradient%s not compared without --grads",
                          n_gradients, n_gradients == 1 ? " is" : "s are");
}

/* Prepend the recording, and its family if that may be the cause. */
static void prefix_error(const lvlm_replay *r, lvlm_error *err)
{
    if (lvlm_replay_is_foreign(r))
        lvlm_prefix(err, "%s: is of %s, the model is %s: ", r->golden,
                    r->recording.family, r->family);
    else
        lvlm_prefix(err, "%s: ", r->golden);
}

/* Compute and compare everything that is recorded, in order. */
static int run(session *s, lvlm_model *model, lvlm_error *err)
{
    lvlm_replay *const r = s->replay;
    const lvlm_stage_sink sink = {
        .take = take, .wants = wants, .user = s, .progress = progress
    };
    const size_t n_forward = r->n_stages;
    const bool grads = s->options->grads, steps = s->options->steps;
    TRY(lvlm_replay_describe(r, model, LVLM_RECORDED_INPUT, err));
    TRY(check_match(s, model, err));
    TRY(note_layers(s, err));
    lvlm_coarse_find(r, model);
    const lvlm_manifest *const m = lvlm_model_manifest(model);
    if (grads) TRY(lvlm_replay_list_gradients(r, m, err));
    const size_t n_pass = r->n_stages;
    lvlm_replay_list_rounds(r);
    if (steps) TRY(lvlm_replay_list_steps(r, m, err));
    TRY(lvlm_bands_read(r, m, s->options->tolerance, err));
    const int rc = lvlm_pass_run(model, r->recording.checkpoint, LVLM_RECORDED_INPUT,
                                 grads, &sink, err);
    if (rc < 0) prefix_error(r, err);
    if (rc == 0 && grads) lvlm_judge_wholes(r, n_forward, n_pass, LVLM_LEAST_GRADIENT);
    TRY(rc);
    TRY(lvlm_replay_rounds(r, model, s->options->notes, err));
    return lvlm_coverage_find(r, model, err);
}

/* As many decoder blocks as were recorded, or are requested. */
static int choose_layers(lvlm_replay *r, const lvlm_replay_options *options,
                         lvlm_error *err)
{
    const size_t recorded = r->recording.layers, wanted = options->layers;
    FAIL_IF(wanted > 0 && recorded > 0 && wanted != recorded, err, LVLM_EUSAGE,
            "%s: is of the first %zu decoder blocks, not of %zu", r->golden, recorded,
            wanted);
    r->layers = wanted > 0 ? wanted : recorded;
    return 0;
}

static int open_recording(lvlm_replay *r, const lvlm_replay_options *options,
                          lvlm_error *err)
{
    if (options->reference != NULL) TRY(lvlm_reference_check(options->reference, err));
    TRY(lvlm_recording_open(&r->recording, r->golden, options->notes, err));
    const lvlm_recording *const rec = &r->recording;
    lvlm_replay_choose(r, options);
    TRY(choose_layers(r, options, err));
    r->compute = options->compute != NULL ? *options->compute
                 : rec->in_double         ? LVLM_COMPUTE_F64
                                          : LVLM_COMPUTE_F32;
    r->is_exact = rec->in_double && r->compute == LVLM_COMPUTE_F64;
    return lvlm_replay_list_stages(r, err);
}

int lvlm_replay_run(lvlm_replay *out, const char *model_path, const char *golden,
                    const lvlm_replay_options *options, lvlm_error *err)
{
    lvlm_model *model = NULL;
    session s = { .replay = out, .options = options };
    int rc;

    *out = (lvlm_replay){ .model = model_path,
                          .golden = golden,
                          .notes = options->notes,
                          .not_compared = LVLM_NOTES_INIT,
                          .not_exercised = LVLM_NOTES_INIT };
    if ((rc = open_recording(out, options, err)) < 0) goto done;
    const lvlm_model_options model_options = lvlm_replay_model_options(out, options);
    if ((rc = lvlm_model_open(&model, model_path, &model_options, err)) == 0)
        rc = run(&s, model, err);
    lvlm_model_free(model); /* before another one is opened */
    if (rc == 0) rc = lvlm_look_again(out, &model_options, &s.kept, err);
    if (rc == 0 && options->steps) rc = lvlm_replay_steps(out, &model_options, err);
    if (rc == 0) {
        lvlm_judge_vacuous(out);
        lvlm_judge_all(out);
        rc = lvlm_try_references(out, options, err);
    }
    if (rc == 0 && options->depth != LVLM_REPLAY_VERDICTS)
        rc = lvlm_own_errors(out, &model_options, options->depth == LVLM_REPLAY_CAUSE,
                             err);
done:
    lvlm_stage_list_free(&s.kept);
    if (rc < 0) lvlm_replay_free(out);
    return rc;
}

void lvlm_replay_free(lvlm_replay *replay)
{
    lvlm_recording_close(&replay->recording);
    lvlm_notes_free(&replay->not_compared);
    lvlm_notes_free(&replay->not_exercised);
    lvlm_arena_free(&replay->arena);
    *replay = (lvlm_replay){ 0 };
}
