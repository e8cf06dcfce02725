/* train_state.c - the folder with the state of a run; see train_run.h.
 *
 * The state is one file, replaced atomically: a run that is killed leaves the one
 * before or the one after. The folder is locked: only one run uses it at a time. */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/base/infile.h"
#include "formats/base/outfile.h"
#include "formats/base/temporary.h"
#include "formats/cli/cleanup.h"
#include "runtime/tune/cli/train_run.h"
#include "runtime/tune/cli/tune_commands.h"

/* ---- the folder ----------------------------------------------------------------- */

static int lock_folder(train_state *s, lvlm_error *err)
{
    TRY(lvlm_folder_make(s->folder, err));
    s->lock = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->lock < 0) return lvlm_fail_errno(err, "%s: cannot open", s->folder);
    return lvlm_lock(s->lock, s->folder, err);
}

/* Also removes temporary files of a run that was killed while it saved. */
static int try_writing(train_state *s, lvlm_error *err)
{
    lvlm_outfile *file = NULL;
    lvlm_cleanup_hold();
    const int rc = lvlm_outfile_open(&file, s->path, true, err);
    if (rc == 0) s->cleanup = lvlm_cleanup_add(lvlm_outfile_temporary(file));
    lvlm_cleanup_release();
    lvlm_outfile_close(file);
    return rc;
}

static int use_folder(train_state *s, const char *folder, lvlm_error *err)
{
    assert(s->path == NULL && s->lock < 0);
    s->folder = folder;
    s->path = lvlm_arena_printf(&s->arena, "%s/" TRAIN_STATE_FILE, folder);
    return s->path != NULL ? lock_folder(s, err) : lvlm_fail_memory(err);
}

static bool same_folder(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

int train_open_state(train_run *r, lvlm_error *err)
{
    const train_args *const a = r->args;
    const char *const folder = a->state != NULL ? a->state : a->resume;
    train_state *const s = &r->state;
    if (folder == NULL) return 0;
    FAIL_IF(a->resume != NULL && !lvlm_path_is_directory(a->resume), err, LVLM_EIO,
            "%s: is not a folder with a state", a->resume);
    TRY(lvlm_outputs_name(&r->outputs, folder, err));
    TRY(use_folder(s, folder, err));
    const bool continues = a->resume != NULL && same_folder(a->resume, folder);
    FAIL_IF(
        !continues && !a->force && lvlm_path_exists(s->path), err, LVLM_EUSAGE,
        "%s: holds the state of a run; --resume continues it, --force overwrites it",
        folder);
    TRY(lvlm_outputs_name(&r->outputs, s->path, err));
    return try_writing(s, err);
}

void train_close_state(train_run *r)
{
    train_state *const s = &r->state;
    lvlm_cleanup_drop(s->cleanup);
    if (s->lock >= 0) close(s->lock);
    lvlm_arena_free(&s->arena);
}

/* ---- the file ------------------------------------------------------------------- */

/* A run that was killed before it first saved starts again. */
int train_load_state(train_run *r, lvlm_error *err)
{
    const char *const folder = r->args->resume;
    if (folder == NULL) return 0;
    const char *const path =
        lvlm_arena_printf(&r->state.arena, "%s/" TRAIN_STATE_FILE, folder);
    if (path == NULL) return lvlm_fail_memory(err);
    if (lvlm_path_exists(path))
        TRY(lvlm_trainer_load_state(&r->trainer, path, err));
    else
        fprintf(stderr, PROGRAM ": %s: holds no state yet; the run begins\n", folder);
    r->resumed = r->state.saved = r->trainer.step;
    FAIL_IF(r->resumed > r->steps, err, LVLM_EUSAGE,
            "%s: is the state after step %zu, beyond the %zu steps of this run", folder,
            r->resumed, r->steps);
    return 0;
}

int train_save_state(train_run *r, lvlm_error *err)
{
    train_state *const s = &r->state;
    if (s->path == NULL || (s->saved == r->trainer.step && s->saved > 0)) return 0;
    TRY(train_log_sync(&r->log, err));
    assert(s->lock >= 0);
    TRY(lvlm_trainer_save_state(&r->trainer, s->path, err));
    s->saved = r->trainer.step;
    return 0;
}

int train_save_due_state(train_run *r, lvlm_error *err)
{
    train_state *const s = &r->state;
    if (!train_save_is_due(r->trainer.step, r->args->save_every,
                           lvlm_seconds() - s->at))
        return 0;
    TRY(train_save_state(r, err));
    s->at = lvlm_seconds();
    return 0;
}

/* ---- stopping ------------------------------------------------------------------- */

void train_catch_stop(const train_run *r)
{
    static char notice[160];
    (void)snprintf(notice, sizeof notice,
                   "%s" PROGRAM ": finishing the step%s; once more ends it at once\n",
                   r->status.columns > 0 ? "\n" : "",
                   r->state.path != NULL ? ", then the state is saved" : "");
    lvlm_stop_catch(r->args->common.quiet ? NULL : notice);
}

int train_stopped(train_run *r, lvlm_error *err)
{
    const size_t step = r->trainer.step;
    FAIL_IF(r->state.path == NULL, err, LVLM_ESTOPPED,
            "stopped at step %zu; what was trained is lost: it is kept where --state "
            "DIR is given",
            step);
    TRY(train_save_state(r, err));
    return lvlm_fail(err, LVLM_ESTOPPED, "stopped at step %zu; --resume %s continues",
                     step, r->state.folder);
}

/* ---- when it cannot go on ------------------------------------------------------- */

/* Save the weights, unless they may be the cause and an earlier state exists. */
void train_keep_state(train_run *r, int rc)
{
    const train_state *const s = &r->state;
    const bool suspect = rc == LVLM_ECHECK && s->saved > 0;
    if (s->path == NULL || (!suspect && train_save_state(r, NULL) < 0)) return;
    fprintf(stderr, PROGRAM ": the state after step %zu is in %s\n", s->saved,
            s->folder);
}

/* `why` the state could not be saved; NULL: it was saved. */
static void tell_rescue(const train_run *r, const lvlm_error *why, bool again)
{
    const train_state *const s = &r->state;
    assert(why != NULL || s->saved > 0);
    if (why != NULL) {
        fprintf(stderr,
                PROGRAM ": what was trained is lost, its state could not be saved "
                        "either (%s); --state DIR keeps it in another place\n",
                why->text);
        return;
    }
    fprintf(stderr,
            PROGRAM ": what was trained is kept: the state after step %zu is "
                    "in %s",
            s->saved, s->folder);
    if (again)
        fprintf(stderr, "; the same command with --resume %s saves the result",
                s->folder);
    fputc('\n', stderr);
}

void train_rescue_state(train_run *r, bool again)
{
    const train_args *const a = r->args;
    train_state *const s = &r->state;
    lvlm_error why;
    int rc = 0;
    if (s->path == NULL) {
        const char *const folder = lvlm_arena_printf(
            &s->arena, "%s.state", a->out != NULL ? a->out : a->adapter_out);
        rc = folder != NULL ? use_folder(s, folder, &why) : lvlm_fail_memory(&why);
        if (rc == 0 && lvlm_path_exists(s->path))
            rc = lvlm_fail(&why, LVLM_EUSAGE, "%s: exists", s->path);
    }
    if (rc == 0) rc = train_save_state(r, &why);
    if (rc < 0 && s->folder != NULL) (void)rmdir(s->folder); /* if it is empty */
    tell_rescue(r, rc < 0 ? &why : NULL, again);
}
