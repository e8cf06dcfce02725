/* train_tell.c - what a run tells people and programs; see train_run.h. */
#include <math.h>
#include <stdio.h>

#include "formats/base/json.h"
#include "formats/cli/fold_text.h"
#include "formats/cli/program.h"
#include "runtime/tune/cli/train_run.h"
#include "runtime/tune/cli/tune_commands.h"

enum { MOST_NAMES = 4 };

/* ---- before and on the way ------------------------------------------------------ */

static double left_of(const train_run *r, size_t step)
{
    return r->seconds / (double)(step - r->resumed) * (double)(r->steps - step);
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
    if (r->notes.n > r->notes.n_printed) train_tell_done(r);
    lvlm_print_notes(PROGRAM, &r->notes);
}

/* What the steps so far say. The parts that matter most come first: a narrow terminal
 * cuts the end. */
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

static void print_changes(const lvlm_changes *c)
{
    printf("  %-10s %8s %8s %8s\n", "", "trained,", "trained,", "frozen,");
    printf("  %-10s %8s %8s %8s\n", "part", "changed", "the same", "the same");
    for (size_t i = 0; i < LVLM_N_CHANGE_PARTS; i++) {
        const lvlm_part_changes *const p = &c->parts[i];
        printf("  %-10s %8zu %8zu %8zu", p->part, p->changed, p->same, p->frozen);
        if (p->broken > 0) printf("   %zu frozen, CHANGED", p->broken);
        printf("\n");
    }
    for (size_t i = 0; i < c->n_same && i < MOST_NAMES; i++)
        printf("%s %s", i == 0 ? "  trained, and the same:" : ",", c->same[i]);
    if (c->n_same > MOST_NAMES) printf(", and %zu more", c->n_same - MOST_NAMES);
    if (c->n_same > 0) printf("\n");
}

static void add_changes(cJSON *json, const lvlm_changes *c)
{
    cJSON *const parts = cJSON_CreateArray(), *const same = cJSON_CreateArray();
    for (size_t i = 0; i < LVLM_N_CHANGE_PARTS; i++) {
        const lvlm_part_changes *const p = &c->parts[i];
        cJSON *const part = cJSON_CreateObject();
        cJSON_AddStringToObject(part, "part", p->part);
        cJSON_AddNumberToObject(part, "trained_changed", (double)p->changed);
        cJSON_AddNumberToObject(part, "trained_same", (double)p->same);
        cJSON_AddNumberToObject(part, "frozen_same", (double)p->frozen);
        cJSON_AddNumberToObject(part, "frozen_changed", (double)p->broken);
        cJSON_AddItemToArray(parts, part);
    }
    for (size_t i = 0; i < c->n_same; i++)
        cJSON_AddItemToArray(same, cJSON_CreateString(c->same[i]));
    cJSON_AddItemToObject(json, "parts", parts);
    cJSON_AddItemToObject(json, "unchanged", same);
}

static train_loss loss_of(const train_run *r)
{
    const size_t each = r->options.accumulate;
    return train_log_loss(&r->log, (r->source.n + each - 1) / each);
}

/* ", loss 9.8786 (mean of the last 2 steps), 11.6410 at step 1" */
static void print_loss(const train_run *r)
{
    const train_loss loss = loss_of(r);
    if (loss.n == 0) return;
    printf(", loss %.4f", loss.mean);
    if (loss.n > 1)
        printf(" (mean of the last %zu steps)", loss.n);
    else if (r->trainer.step > 1)
        printf(" (the last step)");
    if (isfinite(loss.first) && r->trainer.step > 1)
        printf(", %.4f at step 1", loss.first);
}

static void add_loss(cJSON *json, const train_run *r)
{
    const train_loss loss = loss_of(r);
    if (loss.n == 0) return;
    lvlm_json_add_number(json, "loss", loss.mean);
    lvlm_json_add_number(json, "loss_steps", (double)loss.n);
    if (isfinite(loss.first)) lvlm_json_add_number(json, "first_loss", loss.first);
}

/* What the steps of this program took. */
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

static void add_pace(cJSON *json, const train_run *r)
{
    const size_t n = r->trainer.step - r->resumed;
    lvlm_add_seconds(json, "seconds", r->seconds);
    if (n == 0) return;
    lvlm_add_seconds(json, "step_seconds", r->seconds / (double)n);
    lvlm_add_seconds(json, "token_seconds", r->seconds / (double)r->n_tokens);
    if (r->n_images > 0)
        lvlm_add_seconds(json, "image_seconds", r->seconds / (double)r->n_images);
}

static int print_json(const train_run *r, lvlm_error *err)
{
    const train_args *const a = r->args;
    cJSON *const json = lvlm_json_document();
    if (a->out != NULL) cJSON_AddStringToObject(json, "out", a->out);
    if (a->adapter_out != NULL)
        cJSON_AddStringToObject(json, "adapter", a->adapter_out);
    if (a->adapter != NULL)
        cJSON_AddStringToObject(json, "trained_beside",
                                lvlm_beside_name(&r->trainer.adapter));
    cJSON_AddNumberToObject(json, "steps", (double)r->trainer.step);
    add_loss(json, r);
    add_pace(json, r);
    if (a->out != NULL && r->options.lora != NULL) {
        cJSON *const folded = cJSON_CreateObject();
        lvlm_fold_cost_add(folded, &r->fold);
        cJSON_AddItemToObject(json, "folded", folded);
    }
    if (a->out != NULL) cJSON_AddBoolToObject(json, "compared", r->compared);
    if (r->compared) add_changes(json, &r->changes);
    train_data_json(json, r);
    lvlm_add_notes(json, &r->notes);
    return lvlm_print_json(json, err);
}

int train_tell_result(const train_run *r, lvlm_error *err)
{
    train_tell_data(r);
    if (!r->args->common.quiet) tell_pace(r);
    if (r->args->common.json) return print_json(r, err);
    if (r->args->common.quiet) return 0;
    printf("%s: %zu step%s", r->args->out != NULL ? r->args->out : r->args->adapter_out,
           r->trainer.step, r->trainer.step == 1 ? "" : "s");
    print_loss(r);
    printf("\n");
    if (r->args->out == NULL) return 0;
    if (r->options.lora != NULL) lvlm_fold_cost_print(&r->fold);
    if (r->compared) print_changes(&r->changes);
    return 0;
}
