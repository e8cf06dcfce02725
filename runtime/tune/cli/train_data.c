/* train_data.c - the data of a run: ready batches, or a file of examples; and the file
 * that it is evaluated on. See train_run.h. */
#include <stdio.h>

#include "formats/cli/cleanup.h"
#include "formats/cli/program.h"
#include "runtime/tune/batches.h"
#include "runtime/tune/cli/train_run.h"
#include "runtime/tune/cli/tune_commands.h"

/* Batches that are made ahead of the computation. */
enum { DEPTH = 2 };

/* ---- what was asked for --------------------------------------------------------- */

int train_check_data(const train_args *a, lvlm_error *err)
{
    const bool examples = a->data != NULL || a->eval != NULL;
    const bool shuffled = a->data != NULL ? !a->in_order : a->shuffle;
    const bool lora = a->lora != NULL || a->adapter != NULL;
    FAIL_IF(
        !examples && (a->images != NULL || a->batch_size > 0 || a->max_length > 0 ||
                      a->skip_bad),
        err, LVLM_EUSAGE,
        "--images, --batch-size, --max-length and --skip-bad are about the examples "
        "of --data or --eval");
    FAIL_IF(a->in_order && a->data == NULL, err, LVLM_EUSAGE,
            "--in-order is about --data; ready batches are in order without --shuffle");
    FAIL_IF(a->shuffle && a->in_order, err, LVLM_EUSAGE,
            "--shuffle and --in-order exclude each other");
    FAIL_IF(a->seed > 0 && !shuffled && !lora, err, LVLM_EUSAGE,
            "--seed decides nothing %s",
            a->data != NULL ? "with --in-order" : "without --shuffle or --lora");
    FAIL_IF(a->eval_every > 0 && a->eval == NULL, err, LVLM_EUSAGE,
            "--eval-every needs --eval FILE.jsonl");
    return 0;
}

/* ---- opening -------------------------------------------------------------------- */

/* One line of stderr for each example that is left out. */
static void tell_bad(void *run, const char *text)
{
    train_run *const r = run;
    train_tell_done(r);
    if (!r->args->common.quiet)
        fprintf(stderr, PROGRAM ": left out: %s\n", lvlm_shown(text));
}

static int open_examples(lvlm_dataset *out, train_run *r, const char *path,
                         bool shuffled, lvlm_error *err)
{
    const train_args *const a = r->args;
    const lvlm_dataset_options options = { .batch_size = (size_t)a->batch_size,
                                           .shuffled = shuffled,
                                           .seed = a->seed,
                                           .skip_bad = a->skip_bad,
                                           .tell = tell_bad,
                                           .user = r };
    return lvlm_dataset_open(out, path, r->encoder, &options, err);
}

int train_open_data(train_run *r, lvlm_error *err)
{
    const train_args *const a = r->args;
    const lvlm_encoder_options options = { .notes = &r->notes,
                                           .images = a->images,
                                           .max_length = (size_t)a->max_length };
    if (a->data != NULL || a->eval != NULL)
        TRY(lvlm_encoder_open(&r->encoder, r->model, &options, err));
    if (a->eval != NULL) {
        TRY(open_examples(&r->eval, r, a->eval, false, err));
        TRY(lvlm_dataset_check(&r->eval, err));
    }
    if (a->data == NULL)
        return lvlm_batches_open(&r->source, a->batches, a->shuffle, a->seed, err);
    TRY(open_examples(&r->data, r, a->data, !a->in_order, err));
    return lvlm_dataset_source(&r->source, &r->data, DEPTH, err);
}

int train_spare_inputs(const train_run *r, lvlm_error *err)
{
    static const char *const batches[] = { "batch-*.safetensors", NULL };
    static const char *const adapter[] = { "adapter_*", NULL };
    static const char *const images[] = { "*.jpg", "*.jpeg", "*.png", "*.webp", NULL };
    const train_args *const a = r->args;
    const char *const files[] = { r->model, a->data, a->eval };
    TRY(lvlm_outputs_spare(&r->outputs, files, 3, err));
    TRY(lvlm_outputs_spare_folder(&r->outputs, a->batches, batches, err));
    TRY(lvlm_outputs_spare_folder(&r->outputs, a->adapter, adapter, err));
    return lvlm_outputs_spare_folder(&r->outputs, a->images, images, err);
}

void train_close_data(train_run *r)
{
    lvlm_batch_source_close(&r->source);
    lvlm_dataset_close(&r->data);
    lvlm_dataset_close(&r->eval);
    lvlm_encoder_close(r->encoder);
}

/* ---- on the way ----------------------------------------------------------------- */

int train_evaluate(train_run *r, lvlm_error *err)
{
    const train_args *const a = r->args;
    const size_t step = r->trainer.step;
    if (a->eval == NULL) return 0;
    const int rc = lvlm_evaluate(&r->evaluation, r->trainer.model, &r->eval, DEPTH,
                                 lvlm_stop_requested, err);
    train_tell_done(r);
    if (rc < 0) lvlm_prefix(err, "evaluation after step %zu: ", step);
    if (rc < 0) return rc;
    if (!a->common.quiet)
        fprintf(stderr, PROGRAM ": step %zu: loss %.4f over %zu labels of %s\n", step,
                r->evaluation.loss, r->evaluation.n_targets, a->eval);
    return train_log_evaluation(&r->log, step, r->evaluation.loss, err);
}

/* ---- at the end ----------------------------------------------------------------- */

static void tell_file(const lvlm_dataset *d, const char *path, size_t max_length)
{
    const lvlm_dataset_counts *const c = &d->counts;
    if (c->bad > 0)
        fprintf(stderr, PROGRAM ": %s: %zu of %zu examples were left out\n", path,
                c->bad, d->file.n);
    if (c->cut > 0)
        fprintf(stderr, PROGRAM ": %s: %zu of %zu examples were cut to %zu tokens\n",
                path, c->cut, d->file.n, max_length);
    if (c->left_out > 0)
        fprintf(stderr,
                PROGRAM
                ": %s: %zu of %zu examples began with the assistant, whose first "
                "turn was left out\n",
                path, c->left_out, d->file.n);
}

void train_tell_data(const train_run *r)
{
    const train_args *const a = r->args;
    if (a->data != NULL) tell_file(&r->data, a->data, (size_t)a->max_length);
    if (a->eval != NULL) tell_file(&r->eval, a->eval, (size_t)a->max_length);
}

static void print_file(lvlm_printer *p, const char *key, const lvlm_dataset *d)
{
    lvlm_printer_object(p, key);
    lvlm_printer_count(p, "examples", d->file.n);
    lvlm_printer_count(p, "left_out", d->counts.bad);
    lvlm_printer_count(p, "cut", d->counts.cut);
    lvlm_printer_count(p, "first_turn_left_out", d->counts.left_out);
    lvlm_printer_end(p);
}

void train_print_data(lvlm_printer *p, const train_run *r)
{
    if (r->args->data != NULL) print_file(p, "data", &r->data);
    if (r->args->eval == NULL) return;
    print_file(p, "eval", &r->eval);
    lvlm_printer_number(p, "eval_loss", r->evaluation.loss);
}
