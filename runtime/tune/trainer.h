/* trainer.h - a model that is being trained: weights, moments, steps, state.
 *
 *   for each step: batches -> lvlm_trainer_add (forward and backward, one or several)
 *                          -> lvlm_trainer_step (mean, clip, AdamW)
 *
 * Weights of any stored type are trained in float32, or in double where the model
 * computes in double, and rounded once, when they are saved. Frozen weights stay in the
 * mapped file and have neither gradients nor moments; with LoRA that is the whole
 * model, and an adapter beside it is trained. */
#ifndef LVLM_RUNTIME_TUNE_TRAINER_H
#define LVLM_RUNTIME_TUNE_TRAINER_H

#include "formats/adapter/adapter_fold.h"
#include "runtime/model.h"
#include "runtime/part.h"
#include "runtime/tune/adamw.h"
#include "runtime/tune/dropout_rates.h"
#include "runtime/tune/lora.h"
#include "runtime/tune/schedule.h"
#include "runtime/tune/stage.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_trainer_options {
    lvlm_stage stage;
    lvlm_adamw adamw;             /* lr: of parts without a rate of their own */
    double lr_part[LVLM_N_PARTS]; /* of vision, connector, text; 0: adamw.lr */
    double min_lr;      /* what the schedule falls to, at most adamw.lr; rates of parts
                           fall to the same share of theirs. schedule.least follows */
    double layer_decay; /* of the tower's rates (layer_decay.h); 0: none */
    bool decay_all;     /* biases and norms too; else those of decay.h */
    double clip;        /* largest norm of all gradients together; 0: none */
    lvlm_schedule schedule;
    size_t accumulate;     /* batches per step */
    const char *data;      /* lvlm_batch_source.id: which batches, in which order; NULL:
                          not known */
    const char *data_file; /* SHA-256 of the file of examples; NULL or "": none. It and
                              `batches` are recorded in the model */
    const char *batches;   /* lvlm_batch_source.how, or NULL */
    const lvlm_lora *lora; /* train an adapter; stage is ignored. NULL: train the
                              weights themselves */
    const char *adapter;   /* with lora: the PEFT directory to continue, or NULL */
    lvlm_dropout dropout;  /* of the model itself, also of parts that are frozen */
    uint64_t seed;         /* of all that is drawn */
    lvlm_model_options model; /* the trainer sets what is trained, and `check` */
} lvlm_trainer_options;

/* What a run does whose options are not given: those of lvlm-tune train. */
lvlm_trainer_options lvlm_trainer_defaults(void);

/* The options of a run from a JSON object, by the names that lvlm-tune train has for
 * them: steps, accumulate, stage, lr, lr-vision, lr-connector, lr-text, min-lr,
 * layer-decay, beta1, beta2, eps, weight-decay, decay, clip, schedule, warmup. Only
 * steps is required. LVLM_EFORMAT names a member that is unknown or out of range. */
LVLM_MUST_CHECK int lvlm_trainer_options_read(lvlm_trainer_options *out,
                                              const cJSON *settings, lvlm_error *err);

/* What one step did. */
typedef struct lvlm_trainer_report {
    size_t step;      /* from 1 */
    double loss;      /* mean over the labels of all its batches */
    double grad_norm; /* before clipping */
    double lr;        /* of adamw.lr */
    size_t n_targets; /* labels that counted */
    size_t n_tokens;  /* of the texts, without padding */
    size_t n_images;  /* videos too */
} lvlm_trainer_report;

enum { LVLM_TRAINER_LAST = 256 };

/* One trained tensor. */
typedef struct lvlm_trained {
    const char *name;
    lvlm_adamw_arrays of; /* in the trainer's precision; v follows m */
    size_t steps;         /* that changed it */
    bool needs_image;     /* a step without images changes neither it nor its moments */
    double lr, decay;
} lvlm_trained;

typedef struct lvlm_trainer {
    lvlm_trainer_options options;
    lvlm_model *model;
    lvlm_trained *tensors; /* in order of use */
    size_t n_tensors;
    size_t step;                     /* steps done */
    lvlm_model_step sum;             /* of the batches since then */
    size_t n_batches;                /* how many those are */
    char last[LVLM_TRAINER_LAST];    /* the last line of the run's log, saved with the
                                        state to find it again; or "" */
    lvlm_dtype dtype;                /* of weights, gradients and moments: F32 or F64 */
    void *moments;                   /* owned: all m and v */
    double dropout[LVLM_N_DROPOUTS]; /* the rates of options.dropout */
    /* LoRA only (trainer_lora.c): what the model is bound to */
    lvlm_checkpoint *checkpoint;
    lvlm_manifest manifest;
    lvlm_adapter adapter; /* n is 0 without LoRA; its values are the model's */
} lvlm_trainer;

/* Open the native file at `path` for training. Its tensors are compared with their
 * digests first: LVLM_ECHECK names one that is damaged. Free with lvlm_trainer_close,
 * also after a failure. LVLM_ENOMEM says what did not fit. */
LVLM_MUST_CHECK int lvlm_trainer_open(lvlm_trainer *out, const char *path,
                                      const lvlm_trainer_options *options,
                                      lvlm_error *err);
void lvlm_trainer_close(lvlm_trainer *trainer);

/* Gradients of one more batch: the tensors of lvlm_model_forward in `batch` whose names
 * start with `prefix`. LVLM_ECHECK when
 * its loss is not finite: names the first stage with a value that is not. After a
 * failure weights and moments are as after the last step, and may be saved; the batches
 * since then are discarded, and a new step may begin. */
LVLM_MUST_CHECK int lvlm_trainer_add(lvlm_trainer *trainer,
                                     const lvlm_checkpoint *batch, const char *prefix,
                                     lvlm_error *err);
/* Update the weights by the mean gradient of the batches since the last step; an error
 * if no label counts. LVLM_ECHECK names the first gradient, in backward order, that is
 * not finite; nothing has changed then. LVLM_ECHECK also if the weights are not finite
 * afterwards (lvlm_trainer_check): then the step does not count, and the weights should
 * not be saved. After a failure the batches are discarded, as in lvlm_trainer_add. */
LVLM_MUST_CHECK int lvlm_trainer_step(lvlm_trainer *trainer,
                                      lvlm_trainer_report *report, lvlm_error *err);

/* LVLM_ECHECK names the first trained tensor of which a value or moment is infinite or
 * NaN, and how many such values and tensors there are. */
LVLM_MUST_CHECK int lvlm_trainer_check(const lvlm_trainer *trainer, lvlm_error *err);

/* Write and commit the native file that was opened, with the trained weights in their
 * stored types. Not for LoRA. LVLM_ECHECK if values that are finite as trained overflow
 * their stored type: how many, and the first tensor; nothing is written then. */
LVLM_MUST_CHECK int lvlm_trainer_save(const lvlm_trainer *trainer, lvlm_outfile *file,
                                      lvlm_error *err);

/* The same for LoRA: the native file with the adapter merged into it (adapter_fold.h);
 * the adapter as a PEFT directory. */
LVLM_MUST_CHECK int lvlm_trainer_save_merged(const lvlm_trainer *trainer,
                                             lvlm_outfile *file, lvlm_fold_cost *cost,
                                             lvlm_error *err);
LVLM_MUST_CHECK int lvlm_trainer_save_adapter(const lvlm_trainer *trainer,
                                              lvlm_outdir *dir, lvlm_error *err);

/* Everything that the next step depends on, as one file: weights, moments, steps done,
 * and the settings of the run. A run that is resumed from it ends in the same bytes as
 * one that was not interrupted. The old file is replaced once the new one is
 * complete. */
LVLM_MUST_CHECK int lvlm_trainer_save_state(const lvlm_trainer *trainer,
                                            const char *path, lvlm_error *err);
/* The whole file is checked first, against the digests in it: LVLM_EFORMAT when its
 * header is damaged, LVLM_ECHECK names a tensor that is. LVLM_EUSAGE when it belongs to
 * a run from another model, or with other settings: names the first one. */
LVLM_MUST_CHECK int lvlm_trainer_load_state(lvlm_trainer *trainer, const char *path,
                                            lvlm_error *err);

LVLM_END_DECLS

#endif
