/* precision.c - compares a fast mode with our own double; see precision.h.
 *
 *   inputs -> pass in double, stages kept -> pass in the mode, stages compared */
#include "verify/replay/precision.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/text.h"
#include "verify/replay/bands.h"
#include "verify/replay/replay_parts.h"

typedef struct session {
    lvlm_replay *result;
    const lvlm_replay_options *options;
    lvlm_stage_list exact; /* the stages in double */
    const char *prefix;    /* of the names of inputs */
    const lvlm_tensor *ids, *mask;
    size_t done; /* stages of the second pass so far */
} session;

/* ---- inputs --------------------------------------------------------------------- */

static int open_inputs(session *s, const char *path, lvlm_error *err)
{
    lvlm_recording *const in = &s->result->recording;
    TRY(lvlm_checkpoint_open(&in->checkpoint, path, NULL, err));
    FAIL_IF(in->checkpoint->kind != LVLM_CHECKPOINT_PLAIN, err, LVLM_EFORMAT,
            "%s: is a model; expected inputs or a recording", path);
    s->prefix = LVLM_RECORDED_INPUT;
    if (lvlm_rows_input(in->checkpoint, s->prefix, "input_ids") == NULL) s->prefix = "";
    s->ids = lvlm_rows_input(in->checkpoint, s->prefix, "input_ids");
    s->mask = lvlm_rows_input(in->checkpoint, s->prefix, "attention_mask");
    in->metadata = in->checkpoint->metadata;
    in->reference = lvlm_json_string(lvlm_json_get(in->metadata, "reference"));
    lvlm_replay_choose(s->result, s->options);
    return 0;
}

/* ---- both passes ---------------------------------------------------------------- */

static bool wants(void *user, const char *name)
{
    (void)user, (void)name;
    return true;
}

static int keep(void *user, const lvlm_tensor *stage, lvlm_error *err)
{
    return lvlm_stage_list_add(&((session *)user)->exact, stage, err);
}

static int compare(void *user, const lvlm_tensor *got, lvlm_error *err)
{
    session *const s = user;
    const lvlm_tensor *const want = &s->exact.stages[s->done];
    lvlm_replay_stage *const stage = &s->result->stages[s->done++];
    assert(strcmp(got->name, want->name) == 0); /* the same stages in the same order */
    *stage = (lvlm_replay_stage){
        .name = want->name,
        .is_gradient = lvlm_starts_with(want->name, LVLM_RECORDED_GRADIENT),
        .is_logits = strcmp(want->name, "logits") == 0,
        .recorded = want,
        .rows = lvlm_rows_of(want->name, &want->shape, s->ids, s->mask, NULL),
        .shape = want->shape,
        .got = got->shape,
        .band = INFINITY,
        .band_kl = INFINITY,
    };
    TRY(lvlm_stage_compare(&stage->found, got, want, &stage->rows, stage->is_logits,
                           err));
    lvlm_judge(stage, false);
    return 0;
}

static void progress(void *user, size_t done, size_t total)
{
    const session *s = user;
    const size_t before = s->result->stages != NULL ? total : 0;
    if (s->options->progress != NULL)
        s->options->progress(s->options->user, before + done, 2 * total);
}

/* One pass over the inputs; the first describes the model. */
static int pass(session *s, lvlm_model_options *options,
                int (*take)(void *, const lvlm_tensor *, lvlm_error *), lvlm_error *err)
{
    const lvlm_stage_sink sink = {
        .take = take, .wants = wants, .user = s, .progress = progress
    };
    lvlm_model *model = NULL;
    TRY(lvlm_model_open(&model, s->result->model, options, err));
    int rc = 0;
    if (s->result->family == NULL)
        rc = lvlm_replay_describe(s->result, model, s->prefix, err);
    if (rc == 0 && (rc = lvlm_pass_run(model, s->result->recording.checkpoint,
                                       s->prefix, s->options->grads, &sink, err)) < 0)
        lvlm_prefix(err, "%s: ", s->result->golden);
    lvlm_model_free(model);
    options->check = false; /* once is enough, for notes too */
    options->notes = NULL;
    return rc;
}

/* Copy the names of the kept stages, which are freed. */
static int keep_names(lvlm_replay *r, lvlm_error *err)
{
    for (size_t i = 0; i < r->n_stages; i++) {
        lvlm_replay_stage *const stage = &r->stages[i];
        stage->name = lvlm_arena_strndup(&r->arena, stage->name, strlen(stage->name));
        if (stage->name == NULL) return lvlm_fail_memory(err);
        stage->recorded = NULL;
        stage->rows = (lvlm_rows){ .ids = NULL };
    }
    return 0;
}

static int run(session *s, lvlm_error *err)
{
    lvlm_replay *const r = s->result;
    lvlm_model_options options = lvlm_replay_model_options(r, s->options);
    options.compute = LVLM_COMPUTE_F64;
    TRY(pass(s, &options, keep, err));
    r->stages = lvlm_arena_alloc(&r->arena, s->exact.n, sizeof *r->stages);
    if (r->stages == NULL) return lvlm_fail_memory(err);
    options.compute = r->compute;
    TRY(pass(s, &options, compare, err));
    r->n_stages = s->done;
    size_t first = 0;
    while (first < r->n_stages && !r->stages[first].is_gradient) first++;
    lvlm_judge_wholes(r, first, r->n_stages, LVLM_LEAST_GRADIENT);
    lvlm_judge_all(r);
    return keep_names(r, err);
}

int lvlm_precision_run(lvlm_replay *out, const char *model, const char *inputs,
                       const lvlm_replay_options *options, lvlm_error *err)
{
    session s = { .result = out, .options = options };
    int rc = 0;

    assert(options->tolerance == NULL);
    *out = (lvlm_replay){ .model = model,
                          .golden = inputs,
                          .compute = options->compute != NULL ? *options->compute
                                                              : LVLM_COMPUTE_F32,
                          .is_measure = true,
                          .notes = options->notes };
    if (options->reference != NULL) rc = lvlm_reference_check(options->reference, err);
    if (rc == 0) rc = open_inputs(&s, inputs, err);
    if (rc == 0) rc = run(&s, err);
    lvlm_stage_list_free(&s.exact);
    if (rc < 0) lvlm_replay_free(out);
    return rc;
}
