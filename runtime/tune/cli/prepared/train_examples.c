/* train_examples.c - examples of images and text as the data of a run, and as what it
 * is evaluated on. See train_run.h. */
#include <assert.h>
#include <stdio.h>

#include "formats/cli/cleanup.h"
#include "formats/cli/program.h"
#include "runtime/tune/cli/train_run.h"
#include "runtime/tune/cli/tune_commands.h"

/* ---- opening -------------------------------------------------------------------- */

int train_check_examples(const train_args *a, lvlm_error *err)
{
    const bool examples = a->data != NULL || a->eval != NULL;
    FAIL_IF(!examples && (a->images != NULL || a->batch_size > 0 || a->max_length > 0 ||
                          a->skip_bad || a->chat_template != NULL || a->pad_to_square),
            err, LVLM_EUSAGE,
            "--images, --batch-size, --max-length, --skip-bad, --template and "
            "--pad-to-square are about the examples of --data or --eval");
    return 0;
}

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
    assert(r->encoder != NULL);
    const lvlm_dataset_options options = { .batch_size = (size_t)a->batch_size,
                                           .shuffled = shuffled,
                                           .seed = a->seed,
                                           .skip_bad = a->skip_bad,
                                           .tell = tell_bad,
                                           .user = r };
    return lvlm_dataset_open(out, path, r->encoder, &options, err);
}

int train_open_examples(train_run *r, lvlm_error *err)
{
    const train_args *const a = r->args;
    const lvlm_encoder_options options = { .notes = r->notes,
                                           .images = a->images,
                                           .data = { a->eval, a->data },
                                           .resolution = a->resolution,
                                           .max_length = (size_t)a->max_length,
                                           .chat_template = a->chat_template,
                                           .pad_to_square = a->pad_to_square };
    if (a->data != NULL || a->eval != NULL)
        TRY(lvlm_encoder_open(&r->encoder, r->model, &options, err));
    if (a->eval != NULL) {
        TRY(open_examples(&r->eval, r, a->eval, false, err));
        TRY(lvlm_dataset_check(&r->eval, err));
    }
    if (a->data == NULL) return 0;
    TRY(open_examples(&r->data, r, a->data, !a->in_order, err));
    return lvlm_dataset_source(&r->source, &r->data, LVLM_DATASET_AHEAD, err);
}

void train_close_examples(train_run *r)
{
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
    assert(r->eval.n > 0);
    const int rc = lvlm_evaluate(&r->evaluation, r->trainer.model, &r->eval,
                                 lvlm_stop_requested, err);
    train_tell_done(r);
    TRY(lvlm_within(rc, err, "evaluation after step %zu: ", step));
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
    const char *const template =
        r->encoder != NULL ? lvlm_encoder_template(r->encoder) : NULL;
    if (template != NULL) {
        lvlm_printer_text(p, "template", template);
        lvlm_printer_flag(p, "pad_to_square", r->args->pad_to_square);
    }
    if (r->args->data != NULL) print_file(p, "data", &r->data);
    if (r->args->eval == NULL) return;
    print_file(p, "eval", &r->eval);
    lvlm_printer_number(p, "eval_loss", r->evaluation.loss);
}
