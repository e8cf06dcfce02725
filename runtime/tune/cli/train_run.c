/* train_run.c - one run of lvlm-tune train; see train_run.h.
 *
 *   data, model -> [state] -> step, log, [evaluation], [state] ... -> MODEL2, changes
 *
 * The state is one file that is replaced whole; a run that is killed anywhere has the
 * one before or the one after. */
#include "runtime/tune/cli/train_run.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/cli/program.h"
#include "runtime/tune/cli/tune_commands.h"

#define STATE_FILE "state.safetensors"

enum { PATH_BYTES = 4096 };

/* ---- state ---------------------------------------------------------------------- */

static int state_path(char path[PATH_BYTES], const char *folder, lvlm_error *err)
{
    const int n = snprintf(path, PATH_BYTES, "%s/" STATE_FILE, folder);
    FAIL_IF(n < 0 || n >= PATH_BYTES, err, LVLM_EUSAGE, "%.40s...: is too long",
            folder);
    return 0;
}

static const char *state_folder(const train_args *a)
{
    return a->state != NULL ? a->state : a->resume;
}

/* What a run left that was killed while it saved. */
static int sweep(const char *folder, lvlm_error *err)
{
    char **names;
    size_t n;
    TRY(lvlm_path_list(&names, &n, folder, err));
    for (size_t i = 0; i < n; i++) {
        char path[PATH_BYTES];
        if (fnmatch("." STATE_FILE ".tmp-*", names[i], 0) == 0 &&
            snprintf(path, sizeof path, "%s/%s", folder, names[i]) < PATH_BYTES)
            (void)unlink(path);
    }
    lvlm_path_list_free(names, n);
    return 0;
}

static int prepare_state(const train_args *a, lvlm_error *err)
{
    const char *const folder = state_folder(a);
    if (folder == NULL) return 0;
    if (a->resume != NULL && !lvlm_path_is_directory(a->resume))
        return lvlm_fail(err, LVLM_EIO, "%s: is no folder with a state", a->resume);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return lvlm_fail_errno(err, "%s: cannot make the folder", folder);
    return sweep(folder, err);
}

static int save_state(train_run *r, lvlm_error *err)
{
    const char *const folder = state_folder(r->args);
    char path[PATH_BYTES];
    if (folder == NULL || (r->saved == r->trainer.step && r->saved > 0)) return 0;
    TRY(state_path(path, folder, err));
    TRY(lvlm_trainer_save_state(&r->trainer, path, err));
    r->saved = r->trainer.step;
    return 0;
}

/* A run that was killed before it first saved begins again. */
static int load_state(train_run *r, lvlm_error *err)
{
    char path[PATH_BYTES];
    if (r->args->resume == NULL) return 0;
    TRY(state_path(path, r->args->resume, err));
    if (!lvlm_path_exists(path)) {
        fprintf(stderr, PROGRAM ": %s: holds no state yet; the run begins\n",
                r->args->resume);
        return 0;
    }
    TRY(lvlm_trainer_load_state(&r->trainer, path, err));
    r->resumed = r->saved = r->trainer.step;
    return 0;
}

/* ---- steps ---------------------------------------------------------------------- */

static int add_batches(train_run *r, lvlm_error *err)
{
    for (size_t i = 0; i < r->options.accumulate; i++) {
        lvlm_batch batch;
        TRY(r->source.next(r->source.self, &batch, err));
        const int rc = lvlm_trainer_add(&r->trainer, batch.tensors, err);
        if (rc < 0) lvlm_prefix(err, "%s: ", batch.name);
        if (rc < 0) return rc;
    }
    return 0;
}

/* What the first gradients show, while weights still are those of the file. */
static int find_zeros(lvlm_zero_gradients *out, const train_run *r, lvlm_error *err)
{
    *out = (lvlm_zero_gradients){ .arena = LVLM_ARENA_INIT };
    if (r->trainer.step > 0) return 0;
    return lvlm_zero_gradients_find(out, r->trainer.model, &r->trainer.sum, err);
}

static int take_step(train_run *r, lvlm_error *err)
{
    const double started = lvlm_seconds();
    const uint64_t every = r->args->save_every;
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
    if (report.step == r->resumed + 1) train_tell_first(r, &zeros, seconds);
    train_tell_step(r, &report);
    if ((rc = train_log_add(&r->log, &report, seconds, err)) == 0 &&
        (rc = train_evaluate(r, err)) == 0 && every > 0 && report.step % every == 0)
        rc = save_state(r, err);
done:
    lvlm_zero_gradients_free(&zeros);
    return rc;
}

/* A step that fails leaves the weights of the one before: they are kept, unless it is
 * they that may be the reason and an earlier state is there. */
static void keep_state(train_run *r, int rc)
{
    const char *const folder = state_folder(r->args);
    const bool suspect = rc == LVLM_ECHECK && r->saved > 0;
    if (folder == NULL || (!suspect && save_state(r, NULL) < 0)) return;
    fprintf(stderr, PROGRAM ": the state after step %zu is in %s\n", r->saved, folder);
}

static int take_steps(train_run *r, lvlm_error *err)
{
    int rc =
        r->source.seek(r->source.self, r->trainer.step * r->options.accumulate, err);
    while (rc == 0 && r->trainer.step < r->steps) rc = take_step(r, err);
    train_tell_done(r);
    if (rc == 0) return save_state(r, err);
    keep_state(r, rc);
    return rc;
}

/* ---- the run -------------------------------------------------------------------- */

static int save_model(train_run *r, lvlm_error *err)
{
    const train_args *const a = r->args;
    if (a->out == NULL) return 0;
    if (r->options.lora != NULL)
        TRY(lvlm_trainer_save_merged(&r->trainer, a->out, a->force, &r->fold, err));
    else
        TRY(lvlm_trainer_save(&r->trainer, a->out, a->force, err));
    return lvlm_changes_find(&r->changes, r->trainer.model, a->out, err);
}

static int finish(train_run *r, lvlm_error *err)
{
    const train_args *const a = r->args;
    if (a->adapter_out != NULL)
        TRY(lvlm_trainer_save_adapter(&r->trainer, a->adapter_out, a->force, err));
    TRY(save_model(r, err));
    if (a->plot != NULL && r->log.n > 0)
        TRY(lvlm_loss_plot_save(a->plot, r->log.points, r->log.n, a->force, err));
    TRY(train_tell_result(r, err));
    FAIL_IF(r->changes.broken != NULL, err, LVLM_ECHECK,
            "%s: %s changed, though it was frozen", a->out, r->changes.broken);
    return 0;
}

/* Every digest of the model is checked, which takes a while where it is large. */
static int open_trainer(train_run *r, lvlm_error *err)
{
    lvlm_progress bar;
    lvlm_progress_init(&bar, "checking", 0, r->args->common.quiet);
    r->options.checking = lvlm_progress_bytes;
    r->options.checking_user = &bar;
    const int rc = lvlm_trainer_open(&r->trainer, r->model, &r->options, err);
    lvlm_progress_finish(&bar);
    r->options.checking_user = NULL;
    return rc;
}

int train_run_all(train_run *r, lvlm_error *err)
{
    const train_args *const a = r->args;
    TRY(train_open_data(r, err));
    TRY(train_read_options(r, err));
    TRY(prepare_state(a, err));
    TRY(open_trainer(r, err));
    if (a->out != NULL) TRY(lvlm_fold_check(&r->trainer.adapter, err));
    TRY(load_state(r, err));
    TRY(train_log_open(&r->log, a->log, r->trainer.step, err));
    TRY(train_tell_plan(r, err));
    TRY(take_steps(r, err));
    return finish(r, err);
}

int train_run_free(train_run *r, int rc, lvlm_error *err)
{
    const int closed = train_log_close(&r->log, rc < 0 ? NULL : err);
    lvlm_changes_free(&r->changes);
    lvlm_trainer_close(&r->trainer);
    train_close_data(r);
    return rc < 0 ? rc : closed;
}
