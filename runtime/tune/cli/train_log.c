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

#include "formats/base/alloc.h"
#include "formats/base/infile.h"
#include "formats/base/json.h"
#include "formats/base/outfile.h"
#include "formats/base/temporary.h"

static int append(lvlm_loss_point **list, size_t *n, size_t *capacity,
                  const lvlm_loss_point *point, lvlm_error *err)
{
    if (*n == *capacity) {
        const size_t wanted = 2 * *capacity + 64;
        lvlm_loss_point *const grown = lvlm_realloc(*list, wanted, sizeof *grown);
        if (grown == NULL) return lvlm_fail_memory(err);
        *list = grown;
        *capacity = wanted;
    }
    (*list)[(*n)++] = *point;
    return 0;
}

static int remember(train_log *log, const lvlm_loss_point *point, lvlm_error *err)
{
    return append(&log->points, &log->n, &log->capacity, point, err);
}

static int remember_evaluation(train_log *log, const lvlm_loss_point *point,
                               lvlm_error *err)
{
    log->evaluated = point->step;
    return append(&log->evaluations, &log->n_evaluations, &log->evaluations_capacity,
                  point, err);
}

/* ---- whose log is it? ----------------------------------------------------------- */

typedef struct log_line {
    bool is_one; /* it is of a log: a step and its loss, or its eval_loss */
    bool evaluation;
    lvlm_loss_point point;
} log_line;

static int parse_line(log_line *out, const char *line, size_t length, lvlm_error *err)
{
    cJSON *json = NULL;
    uint64_t step = 0;
    *out = (log_line){ .is_one = false };
    const int rc = lvlm_json_parse(&json, line, length, NULL);
    if (rc == LVLM_ENOMEM) return lvlm_fail_memory(err);
    const cJSON *const evaluation = lvlm_json_get(json, "eval_loss");
    out->evaluation = evaluation != NULL;
    out->is_one =
        rc == 0 && lvlm_json_u64(&step, lvlm_json_get(json, "step")) &&
        lvlm_json_double(&out->point.loss,
                         out->evaluation ? evaluation : lvlm_json_get(json, "loss"));
    (void)lvlm_json_double(&out->point.lr, lvlm_json_get(json, "lr"));
    out->point.step = (size_t)step;
    lvlm_json_free(json);
    return 0;
}

/* The content of a file that may be the log of this run. */
typedef struct search {
    size_t done;
    const char *last;
    bool found;  /* the line of step `done` */
    bool broken; /* a line that is not of a log, or steps out of order */
    size_t kept; /* bytes up to and with that step */
    uint64_t step;
} search;

static int search_line(search *s, train_log *log, const char *line, size_t length,
                       lvlm_error *err)
{
    const size_t n_last = strlen(s->last);
    log_line l;
    TRY(parse_line(&l, line, length, err));
    const size_t step = l.point.step;
    s->broken |= !l.is_one || (l.evaluation ? step < s->step : step <= s->step);
    if (s->broken) return 0;
    s->step = step;
    if (!l.evaluation && step == s->done && n_last > 0 && length > n_last)
        s->found = memcmp(line, s->last, n_last) == 0;
    if (step > s->done) return 0;
    s->kept += length + 1;
    return l.evaluation ? remember_evaluation(log, &l.point, err)
                        : remember(log, &l.point, err);
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

/* If the file is the log of this run, remove everything after step `done`. */
static int resume(train_log *log, search *s, lvlm_error *err)
{
    lvlm_infile *old = NULL;
    TRY(lvlm_infile_open(&old, log->path, err));
    int rc = find_end(s, log, old, err);
    if (rc == 0 && s->found && !s->broken && s->kept < old->n_bytes)
        rc = lvlm_outfile_save(log->path, old->bytes, s->kept, true, err);
    if (rc == 0 && (!s->found || s->broken))
        log->n = log->n_evaluations = log->evaluated = 0;
    lvlm_infile_close(old);
    return rc;
}

/* ---- opening -------------------------------------------------------------------- */

/* A device or a pipe; one without a reader is an error rather than a wait. */
static int open_device(train_log *log, lvlm_error *err)
{
    const int fd = open(log->path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) return lvlm_fail_errno(err, "%s: cannot open", log->path);
    (void)fcntl(fd, F_SETFL, O_APPEND);
    log->file = fdopen(fd, "a");
    if (log->file == NULL) close(fd);
    return log->file != NULL ? 0 : lvlm_fail_errno(err, "%s: cannot open", log->path);
}

/* It grows line by line, so it is not an outfile; never through a link. */
static int open_file(train_log *log, lvlm_error *err)
{
    const int fd = open(log->path, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return lvlm_fail_errno(err, "%s: cannot open", log->path);
    const int rc = lvlm_lock(fd, log->path, err);
    if (rc == 0) log->file = fdopen(fd, "a");
    if (log->file == NULL) close(fd);
    if (rc < 0) return rc;
    return log->file != NULL ? 0 : lvlm_fail_errno(err, "%s: cannot open", log->path);
}

/* A file exists: continue it, or begin a new one. */
static int take_over(train_log *log, search *s, bool force, lvlm_error *err)
{
    if (s->done > 0) TRY(resume(log, s, err));
    if (s->found && !s->broken) return 0;
    FAIL_IF(!force && s->done > 0, err, LVLM_EUSAGE,
            "%s: exists and is not the log of this run; --force overwrites", log->path);
    return lvlm_outfile_save(log->path, "", 0, force, err);
}

int train_log_open(train_log *out, const char *path, size_t done, const char *last,
                   bool force, lvlm_error *err)
{
    search s = { .done = done, .last = last };
    struct stat st;
    *out = (train_log){ .path = path };
    assert(done == 0 || last != NULL);
    if (path == NULL) return 0;
    const bool leads = stat(path, &st) == 0;
    FAIL_IF(leads && S_ISDIR(st.st_mode), err, LVLM_EUSAGE, "%s: is a directory", path);
    FAIL_IF(leads && !S_ISREG(st.st_mode) && !force, err, LVLM_EUSAGE,
            "%s: exists; --force overwrites", path);
    if (leads && !S_ISREG(st.st_mode)) return open_device(out, err);
    if (!leads) {
        TRY(lvlm_outfile_save(path, "", 0, force, err));
        return open_file(out, err);
    }
    /* the writer keeps it */
    const int held = open(path, O_RDONLY | O_CLOEXEC);
    if (held < 0) return lvlm_fail_errno(err, "%s: cannot open", path);
    int rc = lvlm_lock(held, path, err);
    if (rc == 0) rc = take_over(out, &s, force, err);
    close(held);
    return rc < 0 ? rc : open_file(out, err);
}

/* ---- writing -------------------------------------------------------------------- */

static int flush(const train_log *log, lvlm_error *err)
{
    if (fflush(log->file) == 0) return 0;
    return lvlm_fail_errno(err, "%s: cannot write", log->path);
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
    TRY(remember(log, &point, err));
    if (log->file == NULL) return 0;
    train_log_text(text, r);
    fprintf(log->file, "%s, \"seconds\": %.3f}\n", text, seconds);
    return flush(log, err);
}

int train_log_evaluation(train_log *log, size_t step, double loss, lvlm_error *err)
{
    const lvlm_loss_point point = { .step = step, .loss = loss };
    if (log->evaluated == step) return 0;
    TRY(remember_evaluation(log, &point, err));
    if (log->file == NULL) return 0;
    fprintf(log->file, "{\"step\": %zu, \"eval_loss\": %.9g}\n", step, loss);
    return flush(log, err);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

train_loss train_log_loss(const train_log *log, size_t steps_of_epoch)
{
    train_loss out = { .first = NAN };
    if (log->n == 0) return out;
    const lvlm_loss_point *const end = log->points + log->n;
    out.n = least(least(steps_of_epoch, LVLM_LOSS_STEPS), (end[-1].step + 1) / 2);
    out.n = out.n > 0 ? least(out.n, log->n) : 1;
    for (size_t i = 1; i <= out.n; i++) out.mean += end[-(ptrdiff_t)i].loss;
    out.mean /= (double)out.n;
    if (log->points[0].step == 1) out.first = log->points[0].loss;
    return out;
}

int train_log_sync(const train_log *log, lvlm_error *err)
{
    /* pipes and some devices cannot */
    if (log->file == NULL || fdatasync(fileno(log->file)) == 0 || errno != EIO)
        return 0;
    return lvlm_fail_errno(err, "%s: cannot flush to disk", log->path);
}

int train_log_close(train_log *log, lvlm_error *err)
{
    const bool failed = log->file != NULL && fclose(log->file) != 0;
    lvlm_free(log->points);
    lvlm_free(log->evaluations);
    log->points = log->evaluations = NULL;
    log->file = NULL;
    return failed ? lvlm_fail_errno(err, "%s: cannot write", log->path) : 0;
}
