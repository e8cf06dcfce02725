/* cmd_train.c - lvlm-tune train: fine-tunes a native file.
 *
 *   MODEL + batches -> trainer.h, step by step -> MODEL2, a log, a state */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/outdir.h"
#include "formats/cli/program.h"
#include "formats/native.h"
#include "runtime/tune/batches.h"
#include "runtime/tune/cli/tune_commands.h"
#include "runtime/tune/trainer.h"

typedef struct train_args {
    lvlm_common_args common;
    const char *out, *batches, *stage, *schedule, *warmup, *decay, *clip, *log;
    const char *state, *resume, *reference, *seed;
    const char *lr, *beta1, *beta2, *eps, *weight_decay;
    double lr_vision, lr_connector, lr_text, epochs;
    uint64_t steps, accumulate, save_every;
    bool force;
} train_args;

// clang-format off
#define TEXT(name, value, field, help) { name, value, LVLM_OPTION_TEXT, offsetof(train_args, field), help }
#define REAL(name, value, field, help) { name, value, LVLM_OPTION_REAL, offsetof(train_args, field), help }
#define COUNT(name, value, field, help) { name, value, LVLM_OPTION_COUNT, offsetof(train_args, field), help }

static const lvlm_option options[] = {
    TEXT("out", "MODEL2", out, "the trained model"),
    TEXT("batches", "DIR", batches, "ready batches: batch-000.safetensors, ... in order, again from the start"),
    TEXT("stage", "1|2|3|full|connector", stage, "what is trained (default full)"),
    COUNT("steps", "N", steps, "how many steps"),
    REAL("epochs", "E", epochs, "or how often the batches are walked over"),
    COUNT("accumulate", "N", accumulate, "batches a step (default 1); the loss is the mean over all their labels"),
    TEXT("lr", "RATE", lr, "learning rate (default 5e-5)"),
    REAL("lr-vision", "RATE", lr_vision, "of the vision tower, where it differs"),
    REAL("lr-connector", "RATE", lr_connector, "of the connector"),
    REAL("lr-text", "RATE", lr_text, "of the language model"),
    TEXT("beta1", "B", beta1, "of AdamW (default 0.9)"),
    TEXT("beta2", "B", beta2, "of AdamW (default 0.999)"),
    TEXT("eps", "E", eps, "of AdamW (default 1e-8)"),
    TEXT("weight-decay", "D", weight_decay, "of AdamW (default 0)"),
    TEXT("decay", "all|matrices", decay, "what decays: everything, or no biases and norms (default matrices)"),
    TEXT("clip", "NORM", clip, "largest norm of all gradients together (default 1; 0: none)"),
    TEXT("schedule", "constant|linear|cosine", schedule, "of the learning rate (default linear)"),
    TEXT("warmup", "N|RATIO", warmup, "steps in which it rises, or their share of all (default 0)"),
    TEXT("seed", "N", seed, "shuffle the batches (default: in order)"),
    TEXT("log", "FILE.jsonl", log, "one object a step: step, loss, grad_norm, lr, tokens, seconds"),
    COUNT("save-every", "N", save_every, "save the state after every N steps, and at the end"),
    TEXT("state", "DIR", state, "where the state is saved"),
    TEXT("resume", "DIR", resume, "go on from the state in that folder"),
    TEXT("reference", "trained|transformers-VERSION", reference, "whose behaviour is computed (default trained)"),
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(train_args, force), "overwrite MODEL2 and the log" },
    LVLM_OPTION_END,
};
// clang-format on

/* ---- what was asked for --------------------------------------------------------- */

/* A whole number of steps, or a share of them below 1. */
static int read_warmup(size_t *out, const char *text, size_t steps, lvlm_error *err)
{
    double value;
    TRY(lvlm_option_number(&value, "warmup", text, 0, err));
    *out = value < 1 ? (size_t)ceil(value * (double)steps) : (size_t)value;
    return 0;
}

static int read_options(lvlm_trainer_options *o, const train_args *a, size_t steps,
                        lvlm_error *err)
{
    *o = (lvlm_trainer_options){ .lr_vision = a->lr_vision,
                                 .lr_connector = a->lr_connector,
                                 .lr_text = a->lr_text,
                                 .threads = lvlm_thread_count(&a->common),
                                 .reference = a->reference };
    o->decay_all = a->decay != NULL && strcmp(a->decay, "all") == 0;
    o->schedule.steps = steps;
    TRY(lvlm_stage_parse(&o->stage, a->stage, err));
    TRY(lvlm_schedule_parse(&o->schedule.kind, a->schedule, err));
    TRY(read_warmup(&o->schedule.warmup, a->warmup, steps, err));
    TRY(lvlm_option_number(&o->adamw.lr, "lr", a->lr, 5e-5, err));
    TRY(lvlm_option_number(&o->adamw.beta1, "beta1", a->beta1, 0.9, err));
    TRY(lvlm_option_number(&o->adamw.beta2, "beta2", a->beta2, 0.999, err));
    TRY(lvlm_option_number(&o->adamw.eps, "eps", a->eps, 1e-8, err));
    TRY(lvlm_option_number(&o->adamw.decay, "weight-decay", a->weight_decay, 0, err));
    return lvlm_option_number(&o->clip, "clip", a->clip, 1, err);
}

static int check_args(const train_args *a, lvlm_error *err)
{
    FAIL_IF(a->out == NULL, err, LVLM_EUSAGE, "--out MODEL2 is needed");
    FAIL_IF(a->batches == NULL, err, LVLM_EUSAGE, "--batches DIR is needed");
    FAIL_IF((a->steps == 0) == !(a->epochs > 0), err, LVLM_EUSAGE,
            "either --steps N or --epochs E is needed");
    FAIL_IF(a->save_every > 0 && a->state == NULL, err, LVLM_EUSAGE,
            "--save-every needs --state DIR");
    FAIL_IF(!a->force && lvlm_path_exists(a->out), err, LVLM_EUSAGE,
            "%s: exists; --force overwrites", a->out);
    FAIL_IF(
        !a->force && a->resume == NULL && a->log != NULL && lvlm_path_exists(a->log),
        err, LVLM_EUSAGE, "%s: exists; --force overwrites", a->log);
    return 0;
}

/* ---- the run -------------------------------------------------------------------- */

typedef struct run_state {
    const train_args *args;
    lvlm_trainer trainer;
    lvlm_batches batches;
    size_t steps, accumulate;
    FILE *log;
    double started;
} run_state;

static int save_state(const run_state *r, lvlm_error *err)
{
    char path[4096];
    const int n = snprintf(path, sizeof path, "%s/state.safetensors", r->args->state);
    FAIL_IF(n < 0 || (size_t)n >= sizeof path, err, LVLM_EUSAGE, "--state is too long");
    return lvlm_trainer_save_state(&r->trainer, path, err);
}

static int load_state(run_state *r, lvlm_error *err)
{
    char path[4096];
    if (r->args->resume == NULL) return 0;
    const int n = snprintf(path, sizeof path, "%s/state.safetensors", r->args->resume);
    FAIL_IF(n < 0 || (size_t)n >= sizeof path, err, LVLM_EUSAGE,
            "--resume is too long");
    return lvlm_trainer_load_state(&r->trainer, path, err);
}

/* One object a line; flushed, so that a killed run leaves whole lines. */
static int log_step(const run_state *r, const lvlm_trainer_report *report,
                    double seconds, lvlm_error *err)
{
    if (!r->args->common.quiet)
        fprintf(stderr,
                "step %zu of %zu: loss %.6f, gradient norm %.4f, %.1f labels/s\n",
                report->step, r->steps, report->loss, report->grad_norm,
                (double)report->n_targets / (seconds > 0 ? seconds : 1e-9));
    if (r->log == NULL) return 0;
    fprintf(r->log,
            "{\"step\": %zu, \"loss\": %.9g, \"grad_norm\": %.9g, \"lr\": %.9g, "
            "\"tokens\": %zu, \"seconds\": %.3f}\n",
            report->step, report->loss, report->grad_norm, report->lr,
            report->n_targets, seconds);
    FAIL_IF(fflush(r->log) != 0, err, LVLM_EIO, "%s: cannot write", r->args->log);
    return 0;
}

static int take_step(run_state *r, lvlm_error *err)
{
    const double started = lvlm_seconds();
    lvlm_trainer_report report;
    for (size_t i = 0; i < r->accumulate; i++) {
        const char *path =
            lvlm_batches_at(&r->batches, r->trainer.step * r->accumulate + i);
        lvlm_checkpoint *batch = NULL;
        if (path == NULL) return lvlm_fail_memory(err);
        TRY(lvlm_checkpoint_open(&batch, path, NULL, err));
        const int rc = lvlm_trainer_add(&r->trainer, batch, err);
        if (rc < 0) lvlm_prefix(err, "%s: ", path);
        lvlm_checkpoint_close(batch);
        if (rc < 0) return rc;
    }
    TRY(lvlm_trainer_step(&r->trainer, &report, err));
    TRY(log_step(r, &report, lvlm_seconds() - started, err));
    const uint64_t every = r->args->save_every;
    if (every > 0 && (report.step % every == 0 || report.step == r->steps))
        return save_state(r, err);
    return 0;
}

static int open_log(run_state *r, lvlm_error *err)
{
    const char *path = r->args->log;
    if (path == NULL) return 0;
    /* a log grows line by line and outlives a killed run: no outfile */
    r->log = fopen(path, r->args->resume != NULL ? "a" : "w"); // lint: allow fopen
    FAIL_IF(r->log == NULL, err, LVLM_EIO, "%s: cannot open it for writing", path);
    return 0;
}

/* Memory before the run, in one line. */
static void tell_plan(const run_state *r)
{
    char text[32];
    size_t numel = 0;
    for (size_t i = 0; i < r->trainer.n_tensors; i++)
        numel += r->trainer.tensors[i].numel;
    if (r->args->common.quiet) return;
    fprintf(stderr,
            "%zu tensors of %zu values are trained: %s for values, gradients and "
            "moments, and the activations of a batch\n",
            r->trainer.n_tensors, numel, lvlm_bytes_text(text, 16.0 * (double)numel));
}

/* Which tensors of the file changed; a frozen one that did is an error. */
static int tell_changes(const run_state *r, const char *before, lvlm_error *err)
{
    lvlm_checkpoint *a = NULL, *b = NULL;
    cJSON *x = NULL, *y = NULL;
    const cJSON *item;
    size_t changed = 0, same = 0;
    int rc;
    if ((rc = lvlm_checkpoint_open(&a, before, NULL, err)) == 0 &&
        (rc = lvlm_checkpoint_open(&b, r->args->out, NULL, err)) == 0 &&
        (rc = lvlm_native_meta_json(&x, a, "digests", err)) == 0)
        rc = lvlm_native_meta_json(&y, b, "digests", err);
    cJSON_ArrayForEach (item, x) {
        const char *now = lvlm_json_string(lvlm_json_get(y, item->string));
        if (rc < 0) break;
        if (now != NULL && strcmp(now, item->valuestring) == 0) {
            same++;
            continue;
        }
        changed++;
        if (lvlm_model_weight(r->trainer.model, item->string) == NULL)
            rc = lvlm_fail(err, LVLM_ECHECK, "%s: changed, though it was frozen",
                           item->string);
    }
    if (rc == 0 && !r->args->common.quiet)
        printf("%s: %zu steps; %zu tensors changed, %zu are what they were\n",
               r->args->out, r->trainer.step, changed, same);
    lvlm_json_free(x);
    lvlm_json_free(y);
    lvlm_checkpoint_close(a);
    lvlm_checkpoint_close(b);
    return rc;
}

static int train(run_state *r, const char *model, lvlm_error *err)
{
    const train_args *const a = r->args;
    lvlm_trainer_options chosen;
    TRY(lvlm_batches_open(&r->batches, a->batches, err));
    r->accumulate = a->accumulate > 0 ? (size_t)a->accumulate : 1;
    const double each = (double)r->batches.n / (double)r->accumulate;
    r->steps = a->steps > 0 ? (size_t)a->steps : (size_t)ceil(a->epochs * each);
    r->batches.shuffled = a->seed != NULL;
    r->batches.seed = a->seed != NULL ? strtoull(a->seed, NULL, 10) : 0;
    TRY(read_options(&chosen, a, r->steps, err));
    TRY(lvlm_trainer_open(&r->trainer, model, &chosen, err));
    TRY(load_state(r, err));
    TRY(open_log(r, err));
    tell_plan(r);
    while (r->trainer.step < r->steps) TRY(take_step(r, err));
    TRY(lvlm_trainer_save(&r->trainer, a->out, a->force, err));
    return tell_changes(r, model, err);
}

static int run(const void *arguments, const lvlm_operands *operands)
{
    run_state r = { .args = arguments };
    lvlm_error err;
    int rc = check_args(r.args, &err);
    if (rc == 0) rc = train(&r, operands->at[0], &err);
    if (r.log != NULL && fclose(r.log) != 0 && rc == 0)
        rc = lvlm_fail(&err, LVLM_EIO, "%s: cannot write", r.args->log);
    lvlm_trainer_close(&r.trainer);
    lvlm_batches_free(&r.batches);
    return rc < 0 ? lvlm_report(PROGRAM, &err) : 0;
}

const lvlm_command command_train = {
    "train",
    "MODEL",
    1,
    1,
    "fine-tune a native file on ready batches",
    "Trains the parts that --stage names with AdamW and writes the model again, in the "
    "types\nthat it is stored in. What is frozen stays in the file as it is. A run "
    "that "
    "was stopped\ngoes on from its state to the same bytes.\n"
    "\n"
    "  lvlm-tune train model.lvlm --out tuned.lvlm --batches batches/ --steps 100 "
    "--lr 1e-5",
    options,
    sizeof(train_args),
    run,
};
