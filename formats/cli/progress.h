/* progress.h - the progress of long work: one line on stderr.
 *
 *   converting 0.8 of 1.3 GB  214.8 MB/s  3 s left
 *   reading  stage 12 of 40  3 min left
 *
 * On a terminal the line is redrawn as the work advances, cut to the terminal's width,
 * and erased at the end. Elsewhere (a file, a pipe, TERM=dumb) a whole line is printed
 * once a minute: "PROGRAM: LINE". */
#ifndef LVLM_FORMATS_CLI_PROGRESS_H
#define LVLM_FORMATS_CLI_PROGRESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Once, at the start of a program: its name. */
void lvlm_progress_install(const char *program);

/* Seconds of a clock that never jumps. */
double lvlm_seconds(void);

/* ---- the line ------------------------------------------------------------------- */

typedef struct lvlm_status {
    bool enabled;
    size_t columns; /* 0: whole lines, once a minute */
    double started;
    double shown; /* time of the last one; 0: none yet */
    bool drawn;   /* it is on the terminal now */
} lvlm_status;

void lvlm_status_init(lvlm_status *status, bool quiet);
/* Should it be shown now? On a terminal ten times a second after the first second, else
 * once a minute. */
bool lvlm_status_due(const lvlm_status *status, double now);
void lvlm_status_show(lvlm_status *status, const char *text, double now);
/* Erase it: before other output, and at the end. */
void lvlm_status_clear(lvlm_status *status);
/* `text` cut to that many columns; 0: not cut.  out (n) */
void lvlm_status_cut(char *out, size_t n, const char *text, size_t columns);

/* ---- work that is counted ------------------------------------------------------- */

typedef struct lvlm_progress {
    const char *label;
    double total; /* bytes, or stages */
    bool stages;  /* counts stages: no speed is shown */
    lvlm_status status;
    pthread_mutex_t lock;
} lvlm_progress;

void lvlm_progress_init(lvlm_progress *progress, const char *label, bool quiet);
/* `done` of `total` bytes, or stages; from any thread. The first argument is the
 * lvlm_progress. For lvlm_run and the like. */
void lvlm_progress_bytes(void *progress, uint64_t done, uint64_t total);
void lvlm_progress_stages(void *progress, size_t done, size_t total);
void lvlm_progress_finish(lvlm_progress *progress);
/* The line after `seconds` of work, `done` of the total.  text (n) */
void lvlm_progress_text(char *text, size_t n, const lvlm_progress *progress,
                        double done, double seconds);

#endif
