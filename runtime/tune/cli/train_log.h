/* train_log.h - the log of a run: one JSON object per line, one line per step, and one
 * per evaluation.
 *
 * It grows line by line and survives a run that is killed. A run that continues from a
 * saved step first removes the lines after that step. It recognises its log by the line
 * of that step, which the state has too, and does not change another file. */
#ifndef LVLM_RUNTIME_TUNE_CLI_TRAIN_LOG_H
#define LVLM_RUNTIME_TUNE_CLI_TRAIN_LOG_H

#include <stdio.h>

#include "runtime/tune/loss_plot.h"
#include "runtime/tune/trainer.h"

typedef struct train_log {
    const char *path;                  /* NULL: steps are recorded only in memory */
    int fd;                            /* 0 or less: none */
    lvlm_loss_list steps, evaluations; /* all so far; owned */
} train_log;

/* Start a log, or with `done` above 0 continue the one whose line of step `done` begins
 * with `last` (train_log_text). LVLM_EUSAGE if the file exists and is not that log,
 * which `force` replaces; LVLM_EIO if another run is writing it. Close it with
 * train_log_close, also after a failure. */
LVLM_MUST_CHECK int train_log_open(train_log *out, const char *path, size_t done,
                                   const char *last, bool force, lvlm_error *err);
/* The line of a step without the time that it took. */
void train_log_text(char text[LVLM_TRAINER_LAST], const lvlm_trainer_report *report);
/* Append a line and flush it: a run that is killed afterwards leaves a whole line. */
LVLM_MUST_CHECK int train_log_add(train_log *log, const lvlm_trainer_report *report,
                                  double seconds, lvlm_error *err);
/* Append the loss of an evaluation after the line of that step; only once. */
LVLM_MUST_CHECK int train_log_evaluation(train_log *log, size_t step, double loss,
                                         lvlm_error *err);
/* The step of the last one; 0: there is none. */
size_t train_log_evaluated(const train_log *log);

/* The final loss of a run. The loss of one batch says little, so it is the mean of the
 * last steps: those of one epoch, but at most LVLM_LOSS_STEPS and half of the run. */
enum { LVLM_LOSS_STEPS = 100 };
typedef struct train_loss {
    double mean;
    size_t n;     /* the number of steps; 0: none is known */
    double first; /* of step 1; NaN: not known */
} train_loss;
train_loss train_log_loss(const train_log *log, size_t steps_of_epoch);

/* Flush the log to disk, before a state that refers to it is written. */
LVLM_MUST_CHECK int train_log_sync(const train_log *log, lvlm_error *err);
LVLM_MUST_CHECK int train_log_close(train_log *log, lvlm_error *err);

#endif
