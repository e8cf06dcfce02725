/* train_run.h - one run of lvlm-tune train: its options and its progress. */
#ifndef LVLM_RUNTIME_TUNE_CLI_TRAIN_RUN_H
#define LVLM_RUNTIME_TUNE_CLI_TRAIN_RUN_H

#include "formats/base/memory.h"
#include "formats/base/options.h"
#include "formats/cli/outputs.h"
#include "formats/cli/printer.h"
#include "formats/cli/program.h"
#include "runtime/tune/batch_source.h"
#include "runtime/tune/changes.h"
#include "runtime/tune/cli/train_log.h"
#include "runtime/tune/data/evaluate.h"
#include "runtime/tune/feature_cache.h"
#include "runtime/tune/zero_gradients.h"

typedef struct train_args {
    lvlm_common_args common;
    const char *out, *data, *images, *chat_template, *batches, *eval, *stage, *schedule,
        *decay, *log, *plot;
    const char *state, *resume, *reference, *compute;
    const char *lora, *adapter, *adapter_out, *base_name, *dropout, *cache_features;
    lvlm_real lr, lr_part[LVLM_N_PARTS], min_lr, layer_decay;
    lvlm_real beta1, beta2, eps, weight_decay, clip;
    lvlm_real epochs, warmup;
    uint64_t steps, accumulate, save_every, seed;
    uint64_t batch_size, max_length, eval_every, report_every, resolution;
    bool shuffle, in_order, skip_bad, pad_to_square, checkpointing, force;
} train_args;

/* Where the state is saved (train_state.c): in that file of its folder. */
#define TRAIN_STATE_FILE "state.safetensors"
typedef struct train_state {
    const char *folder; /* NULL: nowhere */
    const char *path;   /* of the file in it */
    int lock;           /* on the folder; -1: none */
    int cleanup;        /* handle of the file's temporary */
    size_t saved;       /* the step that the saved state is of */
    double at;          /* when it was saved, or the first step began */
    lvlm_arena arena;   /* of the names */
} train_state;

typedef struct train_run {
    const train_args *args;
    const char *model;     /* path */
    lvlm_notes *notes;     /* on model, data and adapter; the caller's */
    lvlm_printer *printer; /* an open one for the result; NULL: one of its own */
    lvlm_trainer_options options;
    lvlm_lora lora; /* --lora and --adapter */
    lvlm_fold_cost fold;
    lvlm_memory memory; /* before the run; all 0: not known */
    lvlm_trainer trainer;
    lvlm_feature_cache features; /* of --cache-features */
    lvlm_encoder *encoder;       /* of examples */
    lvlm_dataset data, eval;     /* of --data and --eval */
    lvlm_batch_source source;
    lvlm_evaluation evaluation; /* the last one */
    train_log log;
    double n_trained;          /* values, as the headers say */
    size_t steps;              /* of the whole run */
    size_t resumed;            /* done before this program started */
    double seconds;            /* of this program's steps, */
    size_t n_tokens, n_images; /* and the amount of data in them */
    lvlm_trainer_report last;  /* of the step before; step 0: none */
    lvlm_status status;        /* the progress line */
    lvlm_progress checking;    /* of digests, while model and state are opened */
    lvlm_changes changes;
    bool compared;        /* changes have been found */
    lvlm_outputs outputs; /* of the log and the state it has only the names; what is
                             not asked for is NULL: */
    lvlm_outfile *out, *plot;
    lvlm_outdir *adapter_out;
    train_state state;
} train_run;

/* Of a command line, a model and notes that outlive it. */
#define TRAIN_RUN_INIT(train_args, model_path, train_notes)                            \
    {                                                                                  \
        .args = (train_args), .model = (model_path), .notes = (train_notes),           \
        .state = {                                                                     \
            .lock = -1,                                                                \
            .cleanup = -1                                                              \
        }                                                                              \
    }

/* Read the options for a source of `n` batches. */
LVLM_MUST_CHECK int train_read_options(train_run *run, lvlm_error *err);
/* Check a run without training: data, options, memory. Free with train_run_free too. */
LVLM_MUST_CHECK int train_check_all(train_run *run, lvlm_error *err);
/* The whole run: open, resume or begin, steps, model, changes. LVLM_ECHECK if a loss is
 * not finite or a frozen tensor changed. If only the last evaluation fails, everything
 * is written before the error is returned. Free with train_run_free, also after a
 * failure. */
LVLM_MUST_CHECK int train_run_all(train_run *run, lvlm_error *err);
/* Keeps an error that `err` already has. */
int train_run_free(train_run *run, int rc, lvlm_error *err);

/* The state of a run (train_state.c). Opening locks the folder of --state or --resume
 * and checks that a state can be written; if it has one of another run: LVLM_EUSAGE
 * without --force. Saving does nothing without a folder, or if that step is saved. */
LVLM_MUST_CHECK int train_open_state(train_run *run, lvlm_error *err);
LVLM_MUST_CHECK int train_load_state(train_run *run, lvlm_error *err);
LVLM_MUST_CHECK int train_save_state(train_run *run, lvlm_error *err);
/* Save after a step if it is due: every --save-every steps, or every ten minutes. */
LVLM_MUST_CHECK int train_save_due_state(train_run *run, lvlm_error *err);
static inline bool train_is_due(size_t step, uint64_t every)
{
    return every > 0 && step % every == 0;
}
static inline bool train_save_is_due(size_t step, uint64_t every, double seconds_since)
{
    return every > 0 ? train_is_due(step, every) : seconds_since >= 600;
}
/* Catch signals from the first step on; after one, LVLM_ESTOPPED says what is kept and
 * how to resume, or what is lost. */
void train_catch_stop(const train_run *run);
LVLM_MUST_CHECK int train_stopped(train_run *run, lvlm_error *err);
/* A step failed with `rc`: save the weights of the step before it. */
void train_keep_state(train_run *run, int rc);
/* The result could not be saved: report where the trained weights are, or save the
 * state beside it. `again`: another attempt may succeed. */
void train_rescue_state(train_run *run, bool again);
void train_close_state(train_run *run);

/* The data of a run (train_data.c): what options say about it, and run->source. */
LVLM_MUST_CHECK int train_check_data(const train_args *args, lvlm_error *err);
LVLM_MUST_CHECK int train_open_data(train_run *run, lvlm_error *err);
/* Examples (prepared/train_examples.c): the same; an epoch of those of the evaluation
 * if there is one; what became of their lines. */
LVLM_MUST_CHECK int train_check_examples(const train_args *args, lvlm_error *err);
LVLM_MUST_CHECK int train_open_examples(train_run *run, lvlm_error *err);
void train_close_examples(train_run *run);
LVLM_MUST_CHECK int train_evaluate(train_run *run, lvlm_error *err);
void train_tell_data(const train_run *run);
/* members of the result */
void train_print_data(lvlm_printer *printer, const train_run *run);
/* LVLM_EUSAGE if an output would replace something that the run reads. */
LVLM_MUST_CHECK int train_spare_inputs(const train_run *run, lvlm_error *err);

/* What is trained (train_memory.c): LVLM_ENOMEM if the run needs more memory than the
 * machine has, LVLM_EUSAGE when a part has a rate of its own and is not trained, or the
 * tower's features are to be kept and change. The memory is reported before the first
 * step. */
LVLM_MUST_CHECK int train_check_trained(train_run *run, lvlm_error *err);
LVLM_MUST_CHECK int train_tell_plan(train_run *run, lvlm_error *err);

/* Reports (train_tell.c): progress, the first step, changes. */
void train_tell_notes(train_run *run);                       /* those that are new */
void train_tell_stage(void *run, size_t done, size_t total); /* within a step */
void train_tell_step(train_run *run, const lvlm_trainer_report *report);
void train_tell_first(train_run *run, const lvlm_zero_gradients *zeros, double seconds);
void train_tell_done(train_run *run); /* erases the progress line */
LVLM_MUST_CHECK int train_tell_result(const train_run *run, lvlm_error *err);

#endif
