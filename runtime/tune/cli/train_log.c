/* train_log.c - the log of a run; see train_log.h. */
#include "runtime/tune/cli/train_log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/base/infile.h"
#include "formats/base/json.h"
#include "formats/base/list.h"
#include "formats/base/outfile.h"
#include "formats/base/temporary.h"

static int append(lvlm_loss_list *list, const lvlm_loss_point *point, lvlm_error *err)
{
    TRY(lvlm_list_room(&list->at, &list->capacity, list->n, sizeof *list->at, err));
    list->at[list->n++] = *point;
    return 0;
}

/* ---- whose log is it? ----------------------------------------------------------- */

/* What a file that may be the log of this run holds. */
typedef struct search {
    size_t done;
    const char *last;
    bool found;  /* the line of step `done` */
    bool broken; /* a line that is not of a log, or steps out of order */
    size_t kept; /* bytes up to and with that step */
    uint64_t step;
} search;

/* A step and its loss, or with *evaluation its eval_loss. *is_one: is the line one? */
static int parse_line(lvlm_loss_point *out, bool *is_one, bool *evaluation,
                      const char *line, size_t length, lvlm_error *err)
{
    cJSON *json = NULL;
    uint64_t step = 0;
    *out = (lvlm_loss_point){ .step = 0 };
    const int rc = lvlm_json_parse(&json, line, length, NULL);
    if (rc == LVLM_ENOMEM) return lvlm_fail_memory(err);
    const cJSON *const loss = lvlm_json_get(json, "eval_loss");
    *evaluation = loss != NULL;
    *is_one =
        rc == 0 && lvlm_json_u64(&step, lvlm_json_get(json, "step")) &&
        lvlm_json_double(&out->loss, *evaluation ? loss : lvlm_json_get(json, "loss"));
    (void)lvlm_json_double(&out->lr, lvlm_json_get(json, "lr"));
    out->step = (size_t)step;
    lvlm_json_free(json);
    return 0;
}

static int search_line(search *s, train_log *log, const char *line, size_t length,
                       lvlm_error *err)
{
    const size_t n_last = strlen(s->last);
    assert(s->done > 0);
    lvlm_loss_point point;
    bool is_one = false, evaluation = false;
    TRY(parse_line(&point, &is_one, &evaluation, line, length, err));
    s->broken |= !is_one || (evaluation ? point.step < s->step : point.step <= s->step);
    if (s->broken) return 0;
    s->step = point.step;
    if (!evaluation && point.step == s->done && n_last > 0 && length > n_last)
        s->found = memcmp(line, s->last, n_last) == 0;
    if (point.step > s->done) return 0;
    s->kept += length + 1;
    return append(evaluation ? &log->evaluations : &log->steps, &point, err);
}

/* A kill may leave an incomplete line at the end. */
static int find_end(search *s, train_log *log, const lvlm_infile *file, lvlm_error *err)
{
    const char *at = (const char *)file->bytes;
    const char *const end = at + file->n_bytes, *stop;
    for (; at < end && !s->broken; at = stop + 1) {
        stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) break;
        TRY(search_line(s, log, at, (size_t)(stop - at), err));
    }
    return 0;
}

/* ---- opening -------------------------------------------------------------------- */

static int open_as(train_log *log, int flags, lvlm_error *err)
{
    log->fd = open(log->path, O_WRONLY | O_APPEND | O_CLOEXEC | flags);
    assert(log->fd != 0); /* a program has its standard streams */
    return log->fd > 0 ? 0 : lvlm_fail_errno(err, "%s: cannot open", log->path);
}

/* A device or a pipe; one without a reader is an error rather than a wait. */
static int open_device(train_log *log, lvlm_error *err)
{
    TRY(open_as(log, O_NONBLOCK | O_NOCTTY, err));
    (void)fcntl(log->fd, F_SETFL, O_APPEND);
    return 0;
}

/* It grows line by line, so it is not an outfile; never through a link. */
static int open_file(train_log *log, lvlm_error *err)
{
    TRY(open_as(log, O_NOFOLLOW, err));
    return lvlm_lock(log->fd, log->path, err);
}

static int cut_to(const train_log *log, size_t n_bytes, lvlm_error *err)
{
    if (ftruncate(log->fd, (off_t)n_bytes) == 0) return 0;
    return lvlm_fail_errno(err, "%s: cannot write", log->path);
}

/* An open file: continue it after step `done`, if it is the log of this run, or begin a
 * new one. */
static int take_over(train_log *log, size_t done, const char *last, bool force,
                     lvlm_error *err)
{
    search s = { .done = done, .last = last };
    lvlm_infile *old = NULL;
    if (done > 0) {
        TRY(lvlm_infile_open(&old, log->path, err));
        const int rc = find_end(&s, log, old, err);
        lvlm_infile_close(old);
        TRY(rc);
    }
    if (s.found && !s.broken) return cut_to(log, s.kept, err);
    log->steps.n = log->evaluations.n = 0;
    FAIL_IF(!force && done > 0, err, LVLM_EUSAGE,
            "%s: exists and is not the log of this run; --force overwrites", log->path);
    FAIL_IF(!force, err, LVLM_EUSAGE, "%s: exists; --force overwrites", log->path);
    return cut_to(log, 0, err);
}

int train_log_open(train_log *out, const char *path, size_t done, const char *last,
                   bool force, lvlm_error *err)
{
    struct stat st;
    *out = (train_log){ .path = path };
    assert(done == 0 || last != NULL);
    if (path == NULL) return 0;
    const bool exists = stat(path, &st) == 0;
    FAIL_IF(exists && S_ISDIR(st.st_mode), err, LVLM_EUSAGE, "%s: is a directory",
            path);
    FAIL_IF(exists && !S_ISREG(st.st_mode) && !force, err, LVLM_EUSAGE,
            "%s: exists; --force overwrites", path);
    if (exists && !S_ISREG(st.st_mode)) return open_device(out, err);
    const bool is_file = lstat(path, &st) == 0 && S_ISREG(st.st_mode);
    if (!is_file) TRY(lvlm_outfile_save(path, "", 0, force, err)); /* replaces a link */
    TRY(open_file(out, err));
    return is_file ? take_over(out, done, last, force, err) : 0;
}

/* ---- writing -------------------------------------------------------------------- */

static int check_written(const train_log *log, int rc, lvlm_error *err)
{
    assert(log->fd > 0);
    return rc >= 0 ? 0 : lvlm_fail_errno(err, "%s: cannot write", log->path);
}

void train_log_text(char text[LVLM_TRAINER_LAST], const lvlm_trainer_report *r)
{
    (void)snprintf(text, LVLM_TRAINER_LAST,
                   "{\"step\": %zu, \"loss\": %.9g, \"grad_norm\": %.9g, \"lr\": %.9g, "
                   "\"tokens\": %zu, \"labels\": %zu",
                   r->step, r->loss, r->grad_norm, r->lr, r->n_tokens, r->n_targets);
}

int train_log_add(train_log *log, const lvlm_trainer_report *r, double seconds,
                  lvlm_error *err)
{
    const lvlm_loss_point point = { r->step, r->loss, r->lr };
    char text[LVLM_TRAINER_LAST];
    assert(log->steps.n == 0 || log->steps.at[log->steps.n - 1].step < r->step);
    TRY(append(&log->steps, &point, err));
    if (log->fd <= 0) return 0;
    train_log_text(text, r);
    const int rc = dprintf(log->fd, "%s, \"seconds\": %.3f}\n", text, seconds);
    return check_written(log, rc, err);
}

size_t train_log_evaluated(const train_log *log)
{
    const lvlm_loss_list *const list = &log->evaluations;
    return list->n > 0 ? list->at[list->n - 1].step : 0;
}

int train_log_evaluation(train_log *log, size_t step, double loss, lvlm_error *err)
{
    const lvlm_loss_point point = { .step = step, .loss = loss };
    if (train_log_evaluated(log) == step) return 0;
    TRY(append(&log->evaluations, &point, err));
    if (log->fd <= 0) return 0;
    const int rc =
        dprintf(log->fd, "{\"step\": %zu, \"eval_loss\": %.9g}\n", step, loss);
    return check_written(log, rc, err);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

train_loss train_log_loss(const train_log *log, size_t steps_of_epoch)
{
    train_loss out = { .first = NAN };
    const lvlm_loss_list *const steps = &log->steps;
    if (steps->n == 0) return out;
    const lvlm_loss_point *const end = steps->at + steps->n;
    out.n = least(least(steps_of_epoch, LVLM_LOSS_STEPS), (end[-1].step + 1) / 2);
    out.n = out.n > 0 ? least(out.n, steps->n) : 1;
    for (size_t i = 1; i <= out.n; i++) out.mean += end[-(ptrdiff_t)i].loss;
    out.mean /= (double)out.n;
    if (steps->at[0].step == 1) out.first = steps->at[0].loss;
    return out;
}

int train_log_sync(const train_log *log, lvlm_error *err)
{
    /* pipes and some devices cannot */
    assert(log->path != NULL || log->fd == 0);
    if (log->fd <= 0 || fdatasync(log->fd) == 0 || errno != EIO) return 0;
    return lvlm_fail_errno(err, "%s: cannot flush to disk", log->path);
}

int train_log_close(train_log *log, lvlm_error *err)
{
    lvlm_free(log->steps.at);
    lvlm_free(log->evaluations.at);
    return log->fd > 0 ? check_written(log, close(log->fd), err) : 0;
}
