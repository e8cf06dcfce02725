/* train_run.c - one run of lvlm-tune train; see train_run.h.
 *
 *   data, model -> [state] -> step, log, [evaluation], [state] ... -> [evaluation]
 *     -> MODEL2, changes
 *
 * The state is one file that is replaced atomically: a run that is killed leaves the
 * one before or the one after. */
#include "runtime/tune/cli/train_run.h"

#include <assert.h>
#include <stdio.h>

#include "formats/base/infile.h"
#include "formats/cli/cleanup.h"
#include "formats/cli/program.h"
#include "runtime/tune/cli/tune_commands.h"

/* ---- steps ---------------------------------------------------------------------- */

static int add_batches(train_run *r, lvlm_error *err)
{
    assert(r->options.accumulate > 0);
    for (size_t i = 0; i < r->options.accumulate; i++) {
        lvlm_batch batch;
        TRY(r->source.next(r->source.self, &batch, err));
        const int rc = lvlm_trainer_add(&r->trainer, batch.tensors, "", err);
        TRY(lvlm_within(rc, err, "%s: ", batch.name));
    }
    return 0;
}

/* Find zero gradients of the first step, while the weights are still those of the
 * file. */
static int find_zeros(lvlm_zero_gradients *out, const train_run *r, lvlm_error *err)
{
    *out = (lvlm_zero_gradients){ .arena = LVLM_ARENA_INIT };
    if (r->trainer.step > 0) return 0;
    return lvlm_zero_gradients_find(out, r->trainer.model, &r->trainer.sum, err);
}

/* The last one is for evaluate_and_finish. */
static int evaluate_if_due(train_run *r, lvlm_error *err)
{
    const size_t step = r->trainer.step;
    if (step == r->steps || !train_is_due(step, r->args->eval_every)) return 0;
    return train_evaluate(r, err);
}

static int take_step(train_run *r, lvlm_error *err)
{
    const double started = lvlm_seconds();
    lvlm_zero_gradients zeros = { .arena = LVLM_ARENA_INIT };
    lvlm_trainer_report report;
    int rc;
    if ((rc = add_batches(r, err)) < 0 || (rc = find_zeros(&zeros, r, err)) < 0 ||
        (rc = lvlm_trainer_step(&r->trainer, &report, err)) < 0) {
        lvlm_prefix(err, "step %zu: ", r->trainer.step + 1);
        goto done;
    }
    const double seconds = lvlm_seconds() - started;
    r->seconds += seconds;
    r->n_tokens += report.n_tokens;
    r->n_images += report.n_images;
    if (report.step == r->resumed + 1) train_tell_first(r, &zeros, seconds);
    train_tell_notes(r);
    train_tell_step(r, &report);
    train_log_text(r->trainer.last, &report);
    rc = train_log_add(&r->log, &report, seconds, err);
    if (rc == 0) rc = evaluate_if_due(r, err);
    if (rc == 0) rc = train_save_due_state(r, err);
done:
    lvlm_zero_gradients_free(&zeros);
    return rc;
}

/* A run that was stopped during an evaluation repeats it. */
static int begin_steps(train_run *r, lvlm_error *err)
{
    lvlm_status_init(&r->status, r->args->common.quiet);
    train_catch_stop(r);
    r->state.at = lvlm_seconds();
    TRY(r->source.seek(r->source.self, r->trainer.step * r->options.accumulate, err));
    if (r->resumed == 0 || train_log_evaluated(&r->log) == r->resumed) return 0;
    return evaluate_if_due(r, err);
}

static int take_steps(train_run *r, lvlm_error *err)
{
    assert(r->trainer.step <= r->steps); /* train_load_state */
    int rc = begin_steps(r, err);
    while (rc == 0 && r->trainer.step < r->steps && lvlm_stop_requested() == 0)
        rc = take_step(r, err);
    train_tell_done(r);
    if (rc == LVLM_ESTOPPED || (rc == 0 && r->trainer.step < r->steps))
        return train_stopped(r, err);
    if (rc < 0) train_keep_state(r, rc);
    return rc;
}

/* ---- the run -------------------------------------------------------------------- */

/* The model has been written: too little memory to compare it is not a failure. */
static int find_changes(train_run *r, lvlm_error *err)
{
    lvlm_error why;
    const int rc = lvlm_changes_find(&r->changes, r->trainer.model, r->args->out, &why);
    r->compared = rc == 0;
    if (rc == LVLM_ENOMEM || rc == LVLM_EIO) {
        fprintf(stderr,
                PROGRAM ": %s: is written, but not compared with the model that "
                        "it came from: %s\n",
                r->args->out, lvlm_shown(why.text));
        return 0;
    }
    if (rc < 0) *err = why;
    return rc;
}

static int save_model(train_run *r, lvlm_error *err)
{
    const train_args *const a = r->args;
    if (a->out == NULL) return 0;
    assert(r->out != NULL && r->trainer.step == r->steps);
    if (r->options.lora != NULL)
        TRY(lvlm_trainer_save_merged(&r->trainer, r->out, &r->fold, err));
    else
        TRY(lvlm_trainer_save(&r->trainer, r->out, err));
    return find_changes(r, err);
}

/* If the result cannot be saved, save the state: a full disk must not lose the run. */
static int save_result(train_run *r, lvlm_error *err)
{
    const char *const base = r->args->base_name;
    int rc = 0;
    if (base != NULL) r->trainer.adapter.config.base = base;
    if (r->adapter_out != NULL)
        rc = lvlm_trainer_save_adapter(&r->trainer, r->adapter_out, err);
    if (rc == 0) rc = save_model(r, err);
    if (rc < 0) train_rescue_state(r, rc != LVLM_ECHECK);
    return rc;
}

/* Names of files without their folders, so that the same run gives the same bytes in
 * any folder. */
static int save_plot(const train_run *r, lvlm_error *err)
{
    const train_args *const a = r->args;
    const lvlm_trainer_options *const o = &r->options;
    char title[256], subtitle[256];
    if (r->plot == NULL || r->log.steps.n == 0) return 0;
    (void)snprintf(title, sizeof title, "%.100s on %.100s", lvlm_path_base(r->model),
                   lvlm_path_base(a->data != NULL ? a->data : a->batches));
    (void)snprintf(subtitle, sizeof subtitle, "%s, %zu step%s, learning rate %g %s",
                   o->lora != NULL ? "adapter" : lvlm_stage_name(o->stage), r->steps,
                   r->steps == 1 ? "" : "s", o->adamw.lr,
                   lvlm_schedule_name(o->schedule.kind));
    const lvlm_loss_plot plot = { .title = title,
                                  .subtitle = subtitle,
                                  .steps = r->log.steps,
                                  .evaluations = r->log.evaluations,
                                  .evaluated =
                                      a->eval != NULL ? lvlm_path_base(a->eval) : "" };
    return lvlm_loss_plot_save(r->plot, &plot, err);
}

static int finish(train_run *r, lvlm_error *err)
{
    const train_args *const a = r->args;
    TRY(save_result(r, err));
    TRY(save_plot(r, err));
    TRY(train_tell_result(r, err));
    FAIL_IF(r->changes.broken != NULL, err, LVLM_ECHECK,
            "%s: %s changed, though it was frozen", a->out, r->changes.broken);
    return 0;
}

/* The result is written even if the last evaluation or saving the state fails. */
static int evaluate_and_finish(train_run *r, lvlm_error *err)
{
    lvlm_error why;
    int before = train_save_state(r, &why);
    if (before == 0) before = train_evaluate(r, &why);
    const int rc = finish(r, err);
    if (before == 0) return rc;
    if (rc < 0) {
        fprintf(stderr, PROGRAM ": %s\n", lvlm_shown(why.text));
        return rc;
    }
    if (before == LVLM_ESTOPPED)
        return lvlm_fail(err, before,
                         "stopped in the evaluation after step %zu; the result is "
                         "written",
                         r->trainer.step);
    *err = why;
    return before;
}

/* Checks every digest of the model and of the state, which takes a while if they are
 * large. */
static int open_trainer(train_run *r, lvlm_error *err)
{
    const train_args *const a = r->args;
    lvlm_progress_init(&r->checking, "checking", a->common.quiet);
    r->options.model.checking = lvlm_progress_bytes;
    r->options.model.checking_user = &r->checking;
    r->options.model.progress = train_tell_stage;
    r->options.model.progress_user = r;
    if (a->cache_features != NULL) r->options.model.features = &r->features.store;
    int rc = lvlm_trainer_open(&r->trainer, r->model, &r->options, err);
    if (rc == 0 && a->cache_features != NULL)
        rc = lvlm_feature_cache_begin(&r->features, r->trainer.model, &r->options.model,
                                      err);
    if (rc == 0 && a->out != NULL) rc = lvlm_fold_check(&r->trainer.adapter, err);
    if (rc == 0) rc = train_load_state(r, err);
    lvlm_progress_finish(&r->checking);
    return rc;
}

/* Open the outputs before anything is computed. */
static int open_outputs(train_run *r, lvlm_error *err)
{
    const train_args *const a = r->args;
    r->outputs.force = a->force;
    TRY(lvlm_outputs_file(&r->outputs, &r->out, a->out, err));
    TRY(lvlm_outputs_dir(&r->outputs, &r->adapter_out, a->adapter_out,
                         &lvlm_adapter_set, err));
    TRY(lvlm_outputs_file(&r->outputs, &r->plot, a->plot, err));
    TRY(train_open_state(r, err));
    if (a->cache_features != NULL)
        TRY(lvlm_feature_cache_open(&r->features, a->cache_features, r->notes, err));
    TRY(lvlm_outputs_name(&r->outputs, a->log, err));
    return train_spare_inputs(r, err);
}

/* Its temporary file is not registered for cleanup, so signals wait until it is
 * gone. */
static int open_log(train_run *r, lvlm_error *err)
{
    lvlm_cleanup_hold();
    const int rc = train_log_open(&r->log, r->args->log, r->trainer.step,
                                  r->trainer.last, r->args->force, err);
    lvlm_cleanup_release();
    return rc;
}

int train_check_all(train_run *r, lvlm_error *err)
{
    TRY(train_open_data(r, err));
    TRY(train_read_options(r, err));
    return train_check_trained(r, err);
}

int train_run_all(train_run *r, lvlm_error *err)
{
    TRY(open_outputs(r, err));
    TRY(train_check_all(r, err));
    TRY(open_trainer(r, err));
    TRY(open_log(r, err));
    TRY(train_tell_plan(r, err));
    TRY(take_steps(r, err));
    return evaluate_and_finish(r, err);
}

int train_run_free(train_run *r, int rc, lvlm_error *err)
{
    const int closed = train_log_close(&r->log, rc < 0 ? NULL : err);
    lvlm_changes_free(&r->changes);
    lvlm_trainer_close(&r->trainer);
    lvlm_batch_source_close(&r->source);
    train_close_examples(r);
    train_close_state(r);
    lvlm_outputs_close(&r->outputs);
    return rc < 0 ? rc : closed;
}
