/* progress.c - the line on stderr; see progress.h. */
#include "formats/cli/progress.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "formats/cli/amounts.h"
#include "formats/cli/terminal.h"

static const double first_after = 1, redrawn_after = 0.1, repeated_after = 60;
enum { LINE_BYTES = 512 };

static const char *program_name = "";

void lvlm_progress_install(const char *program)
{
    program_name = program;
}

/* Columns of the terminal on stderr; 0 if lines cannot be redrawn there. */
static size_t columns_of_stderr(void)
{
    return lvlm_terminal_redraws(stderr) ? lvlm_terminal_width(stderr) : 0;
}

double lvlm_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- the line ------------------------------------------------------------------- */

void lvlm_status_init(lvlm_status *status, bool quiet)
{
    *status = (lvlm_status){ .enabled = !quiet,
                             .columns = columns_of_stderr(),
                             .started = lvlm_seconds() };
}

bool lvlm_status_due(const lvlm_status *s, double now)
{
    const double last = fmax(s->started, s->shown);
    if (!s->enabled) return false;
    if (s->columns == 0) return now - last >= repeated_after;
    return now - s->started > first_after && now - last > redrawn_after;
}

void lvlm_status_cut(char *out, size_t n, const char *text, size_t columns)
{
    assert(n > 0);
    /* the last column stays free: some terminals wrap after it */
    const size_t room = columns > 1 ? columns - 1 : columns > 0 ? 1 : n;
    (void)snprintf(out, room < n ? room + 1 : n, "%s", text);
}

void lvlm_status_show(lvlm_status *s, const char *text, double now)
{
    char line[LINE_BYTES];
    if (!s->enabled) return;
    s->shown = now;
    if (s->columns == 0) {
        fprintf(stderr, "%s: %s\n", program_name, text);
        return;
    }
    s->columns = columns_of_stderr(); /* the window may have been resized */
    lvlm_status_cut(line, sizeof line, text, s->columns);
    fprintf(stderr, "\r%s\033[K", line);
    s->drawn = true;
}

void lvlm_status_clear(lvlm_status *s)
{
    if (s->drawn) fprintf(stderr, "\r\033[K");
    s->drawn = false;
}

/* ---- work that is counted ------------------------------------------------------- */

void lvlm_progress_init(lvlm_progress *progress, const char *label, bool quiet)
{
    assert(label != NULL);
    *progress = (lvlm_progress){ .label = label };
    lvlm_status_init(&progress->status, quiet);
    pthread_mutex_init(&progress->lock, NULL);
}

void lvlm_progress_text(char *text, size_t n, const lvlm_progress *p, double done,
                        double seconds)
{
    char left[LVLM_AMOUNT_TEXT], speed[LVLM_AMOUNT_TEXT], amount[2 * LVLM_AMOUNT_TEXT];
    assert(n > 0 && done > 0);
    const double rate = done / fmax(seconds, 1e-9);
    lvlm_time_text(left, (p->total - done) / rate);
    if (p->stages) {
        (void)snprintf(text, n, "%s  stage %.0f of %.0f  %s left", p->label, done,
                       p->total, left);
        return;
    }
    (void)snprintf(text, n, "%s %s  %s/s  %s left", p->label,
                   lvlm_bytes_of_text(amount, done, p->total),
                   lvlm_bytes_text(speed, rate), left);
}

static void update(lvlm_progress *p, double done, double total, bool stages)
{
    if (!p->status.enabled || !(done > 0) || pthread_mutex_trylock(&p->lock) != 0)
        return;
    const double now = lvlm_seconds();
    char text[LINE_BYTES];
    p->total = total;
    p->stages = stages;
    if (lvlm_status_due(&p->status, now)) {
        lvlm_progress_text(text, sizeof text, p, done, now - p->status.started);
        lvlm_status_show(&p->status, text, now);
    }
    pthread_mutex_unlock(&p->lock);
}

void lvlm_progress_bytes(void *progress, uint64_t done, uint64_t total)
{
    update(progress, (double)done, (double)total, false);
}

void lvlm_progress_stages(void *progress, size_t done, size_t total)
{
    update(progress, (double)done, (double)total, true);
}

void lvlm_progress_finish(lvlm_progress *progress)
{
    lvlm_status_clear(&progress->status);
    pthread_mutex_destroy(&progress->lock);
}
