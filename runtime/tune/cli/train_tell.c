/* train_tell.c - what a run prints, for people and for programs; see train_run.h. */
#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "formats/cli/fold_text.h"
#include "formats/cli/program.h"
#include "runtime/tune/cli/train_run.h"
#include "runtime/tune/cli/tune_commands.h"

enum { MOST_NAMES = 4 };

/* ---- before and on the way ------------------------------------------------------ */

static double left_of(const train_run *r, size_t step)
{
    assert(r->resumed < step && step <= r->steps);
    return r->seconds / (double)(step - r->resumed) * (double)(r->steps - step);
}

void tune_tell_zeros(const lvlm_zero_gradients *zeros)
{
    for (size_t i = 0; i < zeros->n_groups; i++) {
        const lvlm_zero_group *const g = &zeros->groups[i];
        assert(g->n > 0 && g->n <= g->n_trained);
        fprintf(stderr,
                PROGRAM ": %s: no gradient in %zu of %zu trained tensors (%s%s): %s\n",
                g->part, g->n, g->n_trained, g->names[0], g->n > 1 ? ", ..." : "",
                g->cause);
    }
}

void train_tell_first(train_run *r, const lvlm_zero_gradients *zeros, double seconds)
{
    const size_t step = r->resumed + 1;
    char one[LVLM_AMOUNT_TEXT], all[LVLM_AMOUNT_TEXT];
    if (r->args->common.quiet) return;
    train_tell_done(r);
    tune_tell_zeros(zeros);
    if (left_of(r, step) >= 10)
        fprintf(stderr, PROGRAM ": the first step took %s, %zu more take about %s\n",
                lvlm_time_text(one, seconds), r->steps - step,
                lvlm_time_text(all, left_of(r, step)));
}

void train_tell_notes(train_run *r)
{
    if (r->notes->n > r->notes->n_printed) train_tell_done(r);
    lvlm_print_notes(PROGRAM, r->notes);
}

/* Figures of the steps so far, the most important first: a narrow terminal cuts the
 * end. */
static void results_text(char *text, size_t n, const train_run *r)
{
    const lvlm_trainer_report *const last = &r->last;
    char left[LVLM_AMOUNT_TEXT];
    text[0] = '\0';
    if (last->step == 0) return;
    (void)snprintf(text, n, "  %s left  loss %.4f  gradient norm %.3g  %.0f tokens/s",
                   lvlm_time_text(left, left_of(r, last->step)), last->loss,
                   last->grad_norm, (double)r->n_tokens / fmax(r->seconds, 1e-9));
}

void train_tell_stage(void *run, size_t done, size_t total)
{
    train_run *const r = run;
    const size_t each = r->options.accumulate;
    const double now = lvlm_seconds();
    char results[192], batch[64] = "", text[384];
    if (!lvlm_status_due(&r->status, now)) return;
    if (each > 1)
        (void)snprintf(batch, sizeof batch, "  batch %zu of %zu", r->trainer.n_batches,
                       each);
    results_text(results, sizeof results, r);
    (void)snprintf(text, sizeof text, "step %zu of %zu%s  stage %zu of %zu%s",
                   r->trainer.step + 1, r->steps, batch, done, total, results);
    lvlm_status_show(&r->status, text, now);
}

void train_tell_step(train_run *r, const lvlm_trainer_report *report)
{
    const uint64_t every = r->args->report_every;
    const double now = lvlm_seconds();
    char results[192], text[256];
    r->last = *report;
    if (r->args->common.quiet) return;
    results_text(results, sizeof results, r);
    (void)snprintf(text, sizeof text, "step %zu of %zu%s", report->step, r->steps,
                   results);
    if (every > 0 && report->step % every == 0) {
        train_tell_done(r);
        fprintf(stderr, PROGRAM ": %s\n", text);
        r->status.shown = now;
    } else if (lvlm_status_due(&r->status, now)) {
        lvlm_status_show(&r->status, text, now);
    }
}

void train_tell_done(train_run *r)
{
    lvlm_status_clear(&r->status);
}

/* ---- at the end ----------------------------------------------------------------- */

static void print_part(lvlm_printer *p, const lvlm_part_changes *part)
{
    lvlm_printer_line(p, "  %-10s %8zu %8zu %8zu", part->part, part->changed,
                      part->same, part->frozen);
    if (part->broken > 0) lvlm_printer_line(p, "   %zu frozen, CHANGED", part->broken);
    lvlm_printer_line(p, "\n");
    lvlm_printer_object(p, NULL);
    lvlm_printer_text(p, "part", part->part);
    lvlm_printer_count(p, "trained_changed", part->changed);
    lvlm_printer_count(p, "trained_same", part->same);
    lvlm_printer_count(p, "frozen_same", part->frozen);
    lvlm_printer_count(p, "frozen_changed", part->broken);
    lvlm_printer_end(p);
}

static void print_changes(lvlm_printer *p, const lvlm_changes *c)
{
    lvlm_printer_line(p, "  %-10s %8s %8s %8s\n", "", "trained,", "trained,",
                      "frozen,");
    lvlm_printer_line(p, "  %-10s %8s %8s %8s\n", "part", "changed", "the same",
                      "the same");
    lvlm_printer_list(p, "parts");
    for (size_t i = 0; i < LVLM_N_CHANGE_PARTS; i++) print_part(p, &c->parts[i]);
    lvlm_printer_end(p);
    lvlm_printer_list(p, "unchanged");
    for (size_t i = 0; i < c->n_same; i++) {
        if (i < MOST_NAMES)
            lvlm_printer_line(p, "%s %s", i == 0 ? "  trained, and the same:" : ",",
                              c->same[i]);
        lvlm_printer_text(p, NULL, c->same[i]);
    }
    lvlm_printer_end(p);
    if (c->n_same > MOST_NAMES)
        lvlm_printer_line(p, ", and %zu more", c->n_same - MOST_NAMES);
    if (c->n_same > 0) lvlm_printer_line(p, "\n");
}

static train_loss loss_of(const train_run *r)
{
    const size_t each = r->options.accumulate;
    assert(each > 0);
    return train_log_loss(&r->log, (r->source.n + each - 1) / each);
}

/* ", loss 9.8786 (mean of the last 2 steps), 11.6410 at step 1" */
static void print_loss(lvlm_printer *p, const train_run *r)
{
    const train_loss loss = loss_of(r);
    if (loss.n == 0) return;
    lvlm_printer_line(p, ", loss %.4f", loss.mean);
    if (loss.n > 1)
        lvlm_printer_line(p, " (mean of the last %zu steps)", loss.n);
    else if (r->trainer.step > 1)
        lvlm_printer_line(p, " (the last step)");
    if (isfinite(loss.first) && r->trainer.step > 1)
        lvlm_printer_line(p, ", %.4f at step 1", loss.first);
    lvlm_printer_number(p, "loss", loss.mean);
    lvlm_printer_count(p, "loss_steps", loss.n);
    if (isfinite(loss.first)) lvlm_printer_number(p, "first_loss", loss.first);
}

/* The time that tokens and images took. */
static void tell_pace(const train_run *r)
{
    const size_t n = r->trainer.step - r->resumed;
    char pace[LVLM_PACE_TEXT], each[LVLM_AMOUNT_TEXT];
    if (n == 0) return;
    fprintf(stderr, PROGRAM ": %s, %s per token",
            lvlm_pace_text(pace, n, "step", r->seconds),
            lvlm_time_text(each, r->seconds / (double)r->n_tokens));
    if (r->n_images > 0)
        fprintf(stderr, ", %s per image",
                lvlm_time_text(each, r->seconds / (double)r->n_images));
    fputc('\n', stderr);
}

static void tell_features(const train_run *r)
{
    const lvlm_feature_cache *const c = &r->features;
    const size_t n = c->n_hits + c->n_misses;
    if (r->args->cache_features == NULL) return;
    fprintf(stderr, PROGRAM ": %s: has given the features of images %zu of %zu time%s",
            c->dir, c->n_hits, n, n == 1 ? "" : "s");
    if (c->n_damaged > 0)
        fprintf(stderr, "; %zu of its files were damaged", c->n_damaged);
    fputc('\n', stderr);
}

static void print_features(lvlm_printer *p, const train_run *r)
{
    const lvlm_feature_cache *const c = &r->features;
    if (r->args->cache_features == NULL) return;
    lvlm_printer_object(p, "features");
    lvlm_printer_count(p, "hits", c->n_hits);
    lvlm_printer_count(p, "misses", c->n_misses);
    lvlm_printer_count(p, "damaged", c->n_damaged);
    lvlm_printer_end(p);
}

/* What computed, and how fast. */
static void print_pace(lvlm_printer *p, const train_run *r)
{
    const size_t n = r->trainer.step - r->resumed;
    lvlm_printer_text(p, "kernel", lvlm_kernel_name(r->options.model.compute));
    lvlm_printer_seconds(p, "seconds", r->seconds);
    if (n == 0) return;
    lvlm_printer_seconds(p, "step_seconds", r->seconds / (double)n);
    lvlm_printer_seconds(p, "token_seconds", r->seconds / (double)r->n_tokens);
    if (r->n_images > 0)
        lvlm_printer_seconds(p, "image_seconds", r->seconds / (double)r->n_images);
}

static void print_saved(lvlm_printer *p, const train_run *r)
{
    if (r->options.lora != NULL) {
        lvlm_printer_object(p, "folded");
        lvlm_fold_cost_print(p, &r->fold);
        lvlm_printer_end(p);
    }
    lvlm_printer_flag(p, "compared", r->compared);
    if (r->compared) print_changes(p, &r->changes);
}

static void print_result(lvlm_printer *p, const train_run *r)
{
    const train_args *const a = r->args;
    const size_t n = r->trainer.step;
    if (a->out != NULL) lvlm_printer_text(p, "out", a->out);
    if (a->adapter_out != NULL) lvlm_printer_text(p, "adapter", a->adapter_out);
    if (a->adapter != NULL)
        lvlm_printer_text(p, "trained_beside", lvlm_beside_name(&r->trainer.adapter));
    lvlm_printer_line(p, "%s: %zu step%s", a->out != NULL ? a->out : a->adapter_out, n,
                      n == 1 ? "" : "s");
    lvlm_printer_count(p, "steps", n);
    print_loss(p, r);
    lvlm_printer_line(p, "\n");
    print_pace(p, r);
    print_features(p, r);
    if (a->out != NULL) print_saved(p, r);
    train_print_data(p, r);
}

int train_tell_result(const train_run *r, lvlm_error *err)
{
    const lvlm_common_args *const common = &r->args->common;
    lvlm_printer own;
    assert(r->args->out != NULL || r->args->adapter_out != NULL);
    train_tell_data(r);
    if (!common->quiet) {
        tell_pace(r);
        tell_features(r);
    }
    if (r->printer == NULL) lvlm_printer_open(&own, common->json, !common->quiet);
    print_result(r->printer != NULL ? r->printer : &own, r);
    return r->printer != NULL ? 0 : lvlm_printer_close(&own, r->notes, err);
}
