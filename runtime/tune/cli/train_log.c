/* train_log.c - the log of a run; see train_log.h. */
#include "runtime/tune/cli/train_log.h"

#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/infile.h"
#include "formats/base/json.h"
#include "formats/base/outfile.h"

static int remember(train_log *log, size_t step, double loss, lvlm_error *err)
{
    if (log->n == log->capacity) {
        const size_t wanted = 2 * log->capacity + 64;
        lvlm_loss_point *const grown = lvlm_realloc(log->points, wanted, sizeof *grown);
        if (grown == NULL) return lvlm_fail_memory(err);
        log->points = grown;
        log->capacity = wanted;
    }
    log->points[log->n++] = (lvlm_loss_point){ step, loss };
    return 0;
}

/* Remembers the step of a line; *ends when it is none, or of a step behind `done`. */
static int read_line(train_log *log, bool *ends, const char *line, size_t length,
                     size_t done, lvlm_error *err)
{
    cJSON *json = NULL;
    uint64_t step = 0;
    double loss = 0;
    const int rc = lvlm_json_parse(&json, line, length, NULL);
    const bool evaluation = lvlm_json_get(json, "eval_loss") != NULL;
    *ends = rc < 0 || !lvlm_json_u64(&step, lvlm_json_get(json, "step")) ||
            (!evaluation && !lvlm_json_double(&loss, lvlm_json_get(json, "loss"))) ||
            step > done;
    lvlm_json_free(json);
    if (rc == LVLM_ENOMEM) return lvlm_fail_memory(err);
    return *ends || evaluation ? 0 : remember(log, (size_t)step, loss, err);
}

/* The lines up to step `done` stay; whatever stands behind them goes. */
static int cut(train_log *log, size_t done, lvlm_error *err)
{
    lvlm_infile *old = NULL;
    bool ends = false;
    size_t kept = 0;
    if (!lvlm_path_exists(log->path)) return 0;
    TRY(lvlm_infile_open(&old, log->path, err));
    const char *const text = (const char *)old->bytes;
    int rc = 0;
    while (rc == 0 && !ends && kept < old->n_bytes) {
        const char *const line = text + kept;
        const char *const end = memchr(line, '\n', (size_t)old->n_bytes - kept);
        if (end == NULL) break; /* torn */
        rc = read_line(log, &ends, line, (size_t)(end - line), done, err);
        if (!ends) kept += (size_t)(end - line) + 1;
    }
    if (rc == 0 && kept < old->n_bytes)
        rc = lvlm_outfile_save(log->path, text, kept, true, err);
    lvlm_infile_close(old);
    return rc;
}

int train_log_open(train_log *out, const char *path, size_t done, lvlm_error *err)
{
    *out = (train_log){ .path = path };
    if (path == NULL) return 0;
    if (done > 0) TRY(cut(out, done, err));
    /* it grows line by line: no outfile */
    out->file = fopen(path, done > 0 ? "a" : "w"); // lint: allow fopen
    if (out->file == NULL) return lvlm_fail_errno(err, "%s: cannot open", path);
    return 0;
}

static int flush(const train_log *log, lvlm_error *err)
{
    if (fflush(log->file) == 0) return 0;
    return lvlm_fail_errno(err, "%s: cannot write", log->path);
}

int train_log_add(train_log *log, const lvlm_trainer_report *r, double seconds,
                  lvlm_error *err)
{
    TRY(remember(log, r->step, r->loss, err));
    if (log->file == NULL) return 0;
    fprintf(log->file,
            "{\"step\": %zu, \"loss\": %.9g, \"grad_norm\": %.9g, \"lr\": %.9g, "
            "\"tokens\": %zu, \"labels\": %zu, \"seconds\": %.3f}\n",
            r->step, r->loss, r->grad_norm, r->lr, r->n_tokens, r->n_targets, seconds);
    return flush(log, err);
}

int train_log_evaluation(train_log *log, size_t step, double loss, lvlm_error *err)
{
    if (log->file == NULL) return 0;
    fprintf(log->file, "{\"step\": %zu, \"eval_loss\": %.9g}\n", step, loss);
    return flush(log, err);
}

int train_log_close(train_log *log, lvlm_error *err)
{
    const bool failed = log->file != NULL && fclose(log->file) != 0;
    lvlm_free(log->points);
    log->points = NULL;
    log->file = NULL;
    return failed ? lvlm_fail_errno(err, "%s: cannot write", log->path) : 0;
}
