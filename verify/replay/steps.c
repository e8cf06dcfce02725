/* steps.c - recorded training steps, trained again; see replay_parts.h.
 *
 *   metadata "training" -> trainer -> step.I.loss, step.I.grad_norm -> weights.NAME
 *
 * What is compared of a weight is its change from the stored value: that of a few steps
 * is a thousandth of the weight, and would not show in it. */
#include "verify/replay/replay_parts.h"

#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/container/numeric.h"
#include "runtime/gradient_list.h"
#include "runtime/tune/trainer.h"
#include "verify/replay/bands.h"

enum { NAME_BYTES = 64 };

static int read_settings(lvlm_trainer_options *out, const lvlm_replay *r,
                         lvlm_error *err)
{
    const char *const text = r->recording.training;
    cJSON *settings = NULL;
    FAIL_IF(text == NULL, err, LVLM_EFORMAT,
            "%s: records no training steps (no metadata 'training')", r->golden);
    int rc = lvlm_json_parse(&settings, text, strlen(text), err);
    if (rc == 0) rc = lvlm_trainer_options_read(out, settings, err);
    lvlm_json_free(settings);
    return lvlm_within(rc, err, "%s: metadata: training: ", r->golden);
}

int lvlm_replay_list_steps(lvlm_replay *r, const lvlm_manifest *m, lvlm_error *err)
{
    static const char *const figures[] = { "loss", "grad_norm" };
    const size_t before = r->n_stages;
    lvlm_trainer_options o;
    TRY(read_settings(&o, r, err));
    FAIL_IF(r->compute != LVLM_COMPUTE_F64 && r->compute != LVLM_COMPUTE_F32, err,
            LVLM_EUSAGE, "--steps is compared in f64 or f32");
    for (size_t step = 1; step <= o.schedule.steps; step++)
        for (size_t i = 0; i < 2; i++) {
            char name[NAME_BYTES];
            (void)snprintf(name, sizeof name, LVLM_RECORDED_STEP "%zu.%s", step,
                           figures[i]);
            lvlm_replay_list(r, lvlm_recording_find(&r->recording, name));
        }
    TRY(lvlm_replay_list_by_source(r, m, LVLM_RECORDED_WEIGHT, false, err));
    FAIL_IF(r->n_stages == before, err, LVLM_EFORMAT,
            "%s: records no training steps (no tensor is called step.1.loss or "
            "weights.*)",
            r->golden);
    return 0;
}

/* ---- comparing ------------------------------------------------------------------ */

static int compare(lvlm_replay *r, const lvlm_tensor *got, const lvlm_tensor *recorded,
                   lvlm_error *err)
{
    lvlm_replay_stage *const stage = lvlm_replay_find(r, got->name);
    if (stage == NULL) return 0;
    return lvlm_judge_computed(
        stage, got, recorded != NULL ? recorded : stage->recorded, r->is_exact, err);
}

static int compare_figure(lvlm_replay *r, size_t step, const char *figure, double value,
                          lvlm_error *err)
{
    char name[NAME_BYTES];
    (void)snprintf(name, sizeof name, LVLM_RECORDED_STEP "%zu.%s", step, figure);
    const lvlm_tensor got = { .name = name,
                              .dtype = LVLM_F64,
                              .data = (const unsigned char *)&value,
                              .n_bytes = sizeof value };
    return compare(r, &got, NULL, err);
}

/* The change of a weight: values - stored, in double.  out, stored (n) */
static void subtract(double *out, const lvlm_tensor *values, const double *stored,
                     size_t n)
{
    lvlm_convert_values(out, LVLM_F64, values->data, values->dtype, n);
    for (size_t i = 0; i < n; i++) out[i] -= stored[i];
}

static int compare_change(lvlm_replay *r, const lvlm_replay_stage *stage,
                          const lvlm_tensor *now, const lvlm_tensor *before,
                          lvlm_error *err)
{
    const size_t n = (size_t)lvlm_tensor_numel(now);
    double *const values = lvlm_calloc(n + 1, 3 * sizeof *values);
    if (values == NULL) return lvlm_fail_memory(err);
    double *const stored = values, *const ours = values + n, *const theirs = ours + n;
    lvlm_tensor got = { .name = stage->name, .dtype = LVLM_F64, .shape = now->shape };
    got.n_bytes = n * sizeof *values;
    lvlm_tensor recorded = got;
    got.data = (const unsigned char *)ours;
    recorded.data = (const unsigned char *)theirs;
    int rc = 0;
    if (lvlm_shape_equal(&now->shape, &stage->shape)) {
        lvlm_convert_values(stored, LVLM_F64, before->data, before->dtype, n);
        subtract(ours, now, stored, n);
        subtract(theirs, stage->recorded, stored, n);
    }
    rc = compare(r, &got, &recorded, err);
    lvlm_free(values);
    return rc;
}

static int compare_weights(lvlm_replay *r, lvlm_model *model, lvlm_error *err)
{
    lvlm_gradient_list now = { .arena = LVLM_ARENA_INIT }, before = now;
    int rc = lvlm_weight_list_make(&now, model, LVLM_WEIGHTS_TRAINED, err);
    if (rc == 0) rc = lvlm_weight_list_make(&before, model, LVLM_WEIGHTS_STORED, err);
    for (size_t i = 0; rc == 0 && i < now.n; i++) {
        const char *const name = lvlm_arena_printf(
            &now.arena, LVLM_RECORDED_WEIGHT "%s", now.tensors[i].name);
        const lvlm_replay_stage *const stage =
            name != NULL ? lvlm_replay_find(r, name) : NULL;
        if (name == NULL)
            rc = lvlm_fail_memory(err);
        else if (stage != NULL)
            rc = compare_change(r, stage, &now.tensors[i], &before.tensors[i], err);
    }
    lvlm_gradient_list_free(&now);
    lvlm_gradient_list_free(&before);
    return rc;
}

/* ---- the steps ------------------------------------------------------------------ */

/* The prefix of batch number `i`, which is "in." of batch 0. */
static const char *prefix_of(char text[NAME_BYTES], size_t i)
{
    (void)snprintf(text, NAME_BYTES,
                   i == 0 ? LVLM_RECORDED_INPUT : LVLM_RECORDED_BATCH "%zu.", i);
    return text;
}

static size_t count_batches(const lvlm_checkpoint *cp)
{
    char prefix[NAME_BYTES];
    for (size_t n = 1;; n++) {
        bool found = false;
        (void)prefix_of(prefix, n);
        for (size_t i = 0; i < cp->n_tensors; i++)
            found |= lvlm_starts_with(cp->tensors[i].name, prefix);
        if (!found) return n;
    }
}

static int take_step(lvlm_replay *r, lvlm_trainer *t, size_t n_batches, lvlm_error *err)
{
    lvlm_trainer_report report;
    char prefix[NAME_BYTES];
    const size_t first = t->step * t->options.accumulate;
    for (size_t i = first; i < first + t->options.accumulate; i++)
        TRY(lvlm_trainer_add(t, r->recording.checkpoint,
                             prefix_of(prefix, i % n_batches), err));
    TRY(lvlm_trainer_step(t, &report, err));
    TRY(compare_figure(r, report.step, "loss", report.loss, err));
    return compare_figure(r, report.step, "grad_norm", report.grad_norm, err);
}

static int take_steps(lvlm_replay *r, lvlm_trainer *t, lvlm_error *err)
{
    const size_t n_batches = count_batches(r->recording.checkpoint);
    while (t->step < t->options.schedule.steps) {
        const size_t step = t->step + 1;
        TRY(lvlm_within(take_step(r, t, n_batches, err), err,
                        "%s: step %zu: ", r->golden, step));
    }
    return compare_weights(r, t->model, err);
}

int lvlm_replay_steps(lvlm_replay *r, const lvlm_model_options *options,
                      lvlm_error *err)
{
    lvlm_trainer_options o;
    lvlm_trainer trainer;
    TRY(read_settings(&o, r, err));
    o.model = *options;
    o.model.trains = NULL;
    o.model.notes = NULL; /* the forward pass has them */
    int rc = lvlm_trainer_open(&trainer, r->model, &o, err);
    if (rc == 0) rc = take_steps(r, &trainer, err);
    lvlm_trainer_close(&trainer);
    size_t first = 0, end;
    while (first < r->n_stages &&
           !lvlm_starts_with(r->stages[first].name, LVLM_RECORDED_WEIGHT))
        first++;
    for (end = first; end < r->n_stages &&
                      lvlm_starts_with(r->stages[end].name, LVLM_RECORDED_WEIGHT);)
        end++;
    if (rc == 0) lvlm_judge_wholes(r, first, end, LVLM_LEAST_CHANGE);
    return rc;
}
