/* model.h - a vision-language model that can be run.
 *
 *   image -> vision tower -> connector -> language model -> logits, loss
 *
 * The smallest program:
 *
 *     lvlm_model *model = NULL;
 *     lvlm_checkpoint *inputs = NULL;
 *     lvlm_stage_sink sink = { .take = take, .user = &mine };
 *     if ((rc = lvlm_model_open(&model, "model.lvlm", NULL, &err)) < 0 ||
 *         (rc = lvlm_checkpoint_open(&inputs, "in.safetensors", NULL, &err)) < 0 ||
 *         (rc = lvlm_model_forward(model, inputs, "", &sink, &err)) < 0) ...
 *     lvlm_checkpoint_close(inputs);
 *     lvlm_model_free(model);
 *
 * Everything that is computed leaves through the sink, stage by stage, in order of
 * computation; stages that are not wanted are not computed. Matrices stay in the mapped
 * file in the type they are stored in. Results are bit-identical for every number of
 * threads.
 *
 * Distinct models may be used from distinct threads, with one exception: a forward sets
 * OpenBLAS, which is process-wide, to one thread of its own. One model runs one forward
 * at a time. */
#ifndef LVLM_RUNTIME_MODEL_H
#define LVLM_RUNTIME_MODEL_H

#include <stdbool.h>
#include <stddef.h>

#include "formats/adapter/adapter.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_compute {
    LVLM_COMPUTE_F32, /* activations, sums and results in float */
    LVLM_COMPUTE_F64, /* everything in double: distinguishes rounding from a mistake */
    /* As F32, but operands of the products of linear maps and of attention are rounded
     * first; those of its scores always to two numbers. Not so in a forward of up to 8
     * rows, as when text is generated; nor are those of an adapter: */
    LVLM_COMPUTE_BF16X2, /* to a sum of two bf16 numbers, 16 bits of significand */
    LVLM_COMPUTE_BF16,   /* to bf16 */
} lvlm_compute;

/* What programs call them, for their tables of options. */
#define LVLM_COMPUTE_NAMES "f32|bf16x2|bf16|f64"

/* One of those names; NULL: f32. */
lvlm_compute lvlm_compute_of(const char *name);
const char *lvlm_compute_name(lvlm_compute compute);

/* What multiplies matrices in this process: "openblas", or kernels of the processor
 * ("avx512_bf16", "amx"), which products in double do not use. The variable LVLM_KERNEL
 * of the environment names one; without it the fastest is chosen. Another kernel rounds
 * sums otherwise. */
const char *lvlm_kernel_name(lvlm_compute compute);

/* Keeps features of a frozen tower from one pass to the next, so that they are computed
 * once. `user` is the first argument of both. */
struct lvlm_images;
typedef struct lvlm_feature_store {
    /* Put the features of these images into `values`, which have the shape and type of
     * `rows` and are those of rows->data, and set *found; or set it to false. */
    int (*find)(void *user, bool *found, const struct lvlm_images *images,
                const lvlm_tensor *rows, void *values, lvlm_error *err);
    /* These were computed; called after a `find` that did not find them. */
    int (*keep)(void *user, const lvlm_tensor *rows, lvlm_error *err);
    void *user;
} lvlm_feature_store;

/* All zero is a good choice. */
typedef struct lvlm_model_options {
    lvlm_compute compute;
    size_t threads;        /* 0: lvlm_processors */
    const char *reference; /* whose behaviour, where versions differ: "trained" (also
                              NULL) or "transformers-X.Y[.Z]"; read during open only */
    /* Which weights are trained; NULL: none. Those have gradients, and with
     * `own_weights` values in memory that may be changed. `target` is one of the
     * manifest's. */
    bool (*trains)(void *user, const lvlm_manifest *manifest,
                   const lvlm_target *target);
    void *user; /* of trains */
    bool own_weights;
    bool checkpointing;  /* backward keeps what enters each block and computes the rest
                           again: less memory, the same bits, a third more work */
    uint64_t resolution; /* of lvlm_model_open: pixels of a picture's side, if others
                            than the model's (resolution.h); 0: those */
    const lvlm_adapter *adapter; /* is used beside the weights and is trained; its
                                    modules are those of the model's own manifest. What
                                    it saves whole is trained, in memory, from its
                                    values if it has some. It must outlive the model.
                                    NULL: none */
    size_t layers; /* of lvlm_model_open: only the first of its decoder blocks, as if it
                      had been made with so few (lvlm_manifest_cut). 0: all */
    bool once;     /* no pass follows the first: the pages of a mapped file leave the
                      resident set block by block, as soon as they were read */
    bool cache_bf16; /* keys and values of sessions (session.h) are rounded to bf16,
                        half the memory of F32; all rows attend to the rounded ones */
    bool nudge; /* every value that enters the text is moved up or down by its last bit,
                   pseudo-randomly: what comes of it shows how far the model amplifies
                   rounding */
    /* Used in passes in which the tower is frozen, drops nothing, and none of its
     * stages is wanted or given. It must outlive the model. NULL: none */
    const lvlm_feature_store *features;
    bool check; /* of a native file: compare every weight and side file with its digest
                   before anything is computed. Other checkpoints record none */
    /* Called while that is done with the bytes that are read, of how many, from any
     * thread; may be NULL. */
    void (*checking)(void *user, uint64_t done, uint64_t total);
    void *checking_user;
    /* Called during lvlm_model_backward after each stage: how many of all are computed.
     * May be NULL. */
    void (*progress)(void *user, size_t done, size_t total);
    void *progress_user;
    lvlm_notes *notes; /* of lvlm_model_open: receives what the model's files and its
                          batches have and nothing follows; it must outlive the model.
                          NULL: none. A bound model uses its checkpoint's */
} lvlm_model_options;

typedef struct lvlm_model lvlm_model;

/* Where the stages of a forward go. The names, in order of computation, and shapes:
 *
 *   vision.patches          after the patch projection, before positions
 *   vision.embed            entering block 0, where anything is between
 *   vision.blocks.I         leaving block I; only blocks that the features need
 *   vision.global_blocks.I  the same of gated global blocks
 *   vision.out              the features
 *   connector.norm          merger: its norm
 *   connector.linear_1      mlp: its first map, before the activation
 *   connector.attn          resampler: after attention
 *   connector.ln_post       resampler: after the last norm
 *   connector.out           what enters the text
 *   text.embed  [B, T, C]   entering block 0: scaled embeddings, raw image rows
 *   text.blocks.I [B, T, C] leaving block I
 *   text.norm   [B, T, C]
 *   logits      [B, T, V]
 *   loss        []          only when at least one label counts
 *
 * Those of vision and connector are [N, P, C] for N squares of P rows, [R, C] for
 * the rows of grids, and for tiles what runtime/vision/tiles.c hands out: the
 * reference's own shapes and order of rows. Rows of padding tokens are not computed and
 * come out as zeros. Without images those of vision and connector are absent. */
typedef struct lvlm_stage_sink {
    /* One stage: F32, or F64 when that is the precision. Name and data are borrowed for
     * the duration of the call. A negative lvlm_code ends the forward with it. */
    int (*take)(void *user, const lvlm_tensor *stage, lvlm_error *err);
    /* Whether `name` will be taken; called several times, with the same answer
     * during a forward. NULL: everything. */
    bool (*wants)(void *user, const char *name);
    void *user;
    /* Called after each stage: how many of all are computed. May be NULL. */
    void (*progress)(void *user, size_t done, size_t total);
    /* Stages that are given: whatever follows is computed from their values here. A
     * stage that is given and not wanted is not computed, so a part of the model can be
     * computed by itself, with the positions, masks and order of rows of the whole.
     * Both or neither; asked like `wants`. */
    bool (*gives)(void *user, const char *name);
    /* Put the values of `stage` into `values`, which have its shape and type and are
     * those of stage->data; called after `take`. Rows of padding are ignored. */
    int (*give)(void *user, const lvlm_tensor *stage, void *values, lvlm_error *err);
    /* The sink's own memory for the values of a large stage that is taken and not
     * given: they are computed there, and `take` finds them there. It may return NULL,
     * and be NULL: then they are in the model's memory. */
    void *(*place)(void *user, const lvlm_tensor *stage);
} lvlm_stage_sink;

/* Open a native file and bind its weights. `options` may be NULL. On success *out must
 * be freed with lvlm_model_free. LVLM_EFORMAT names the tensor or setting that does not
 * fit, LVLM_EUSAGE a reference that does not exist, LVLM_ECHECK a tensor that is not
 * what its digest says, where options->check asks for that. */
LVLM_MUST_CHECK int lvlm_model_open(lvlm_model **out, const char *path,
                                    const lvlm_model_options *options, lvlm_error *err);

/* The same from a manifest that the caller keeps: it and its checkpoint must outlive
 * the model. Any kind of checkpoint will do whose tensors need no transform. */
LVLM_MUST_CHECK int lvlm_model_bind(lvlm_model **out, const lvlm_manifest *manifest,
                                    const lvlm_model_options *options, lvlm_error *err);
void lvlm_model_free(lvlm_model *model);

/* Family and canonical configuration. Borrowed. */
const lvlm_manifest *lvlm_model_manifest(const lvlm_model *model);

/* The differences between references (lvlm_family.differences) that are in force in
 * this model, one by one: `previous` NULL gives the first; NULL ends them. */
const lvlm_difference *lvlm_model_difference(const lvlm_model *model,
                                             const lvlm_difference *previous);

/* One forward pass over the tensors of `inputs` whose names start with `prefix` ("", or
 * "in." in a golden):
 *
 *   input_ids       I64 or I32 [B, T]
 *   attention_mask  the same; 1 token, 0 padding, anywhere; absent: all 1
 *   token_type_ids  the same; 0 prefix, 1 suffix; absent: all 0
 *   labels          the same; -100 does not count
 *   position_ids    the same, or more axes of it (runtime/batch/position_ids.h);
 *                   absent: the reference's own
 *   pixel_values    F32, F64, BF16 or F16; absent: no images. With those beside it that
 *                   the model's form of images has (images.h):
 *     squares         [N, channels, side, side]
 *     patches         [P, values of a patch], image_grid_thw [N, 3]; of videos
 *                     pixel_values_videos, video_grid_thw, second_per_grid_ts
 *     tiles           [B, M, tiles, channels, side, side], aspect_ratio_ids,
 *                     aspect_ratio_mask, cross_attention_mask
 *
 * Others are noted.
 *
 * The rows of all images, in order, fill the image tokens of all texts, row by row; the
 * numbers must match. Positions beyond max_position_embeddings are computed and noted.
 * The loss is the mean over the labels that count, of the whole batch, each predicted
 * by the token before it; when none counts there is no loss. LVLM_EFORMAT names the
 * tensor, the place, what was found and what was expected. Stages taken before a
 * failure stay taken. */
LVLM_MUST_CHECK int lvlm_model_forward(lvlm_model *model, const lvlm_checkpoint *inputs,
                                       const char *prefix, const lvlm_stage_sink *sink,
                                       lvlm_error *err);

/* What one forward and backward pass found. */
typedef struct lvlm_model_step {
    double loss;      /* sum over the labels that count; 0 when none does */
    size_t n_targets; /* how many those are */
    size_t n_tokens;  /* of the texts, without padding */
    size_t n_texts;
    size_t n_images; /* videos too */
    bool sees; /* pixels took part: else tower, connector and cross-attention did not */
} lvlm_model_step;

/* Forward and backward over a batch, as in lvlm_model_forward: gradients of the loss
 * summed over its labels, times `scale`, are added to those that are there. `scale` 0
 * means one over the number of labels: the mean. The model trains, which matters
 * to Qwen-VL beyond its seq_length: what it does there in evaluation is left out.
 * Logits are never in memory as a whole, and nothing is computed below the first weight
 * that is trained. */
LVLM_MUST_CHECK int lvlm_model_backward(lvlm_model *model, lvlm_model_step *step,
                                        const lvlm_checkpoint *inputs,
                                        const char *prefix, double scale,
                                        lvlm_error *err);

/* The memory that such a backward takes besides weights and gradients: activations,
 * their gradients, logits, scratch. It is allocated for a moment, and not touched. */
LVLM_MUST_CHECK int lvlm_model_backward_bytes(lvlm_model *model, uint64_t *out,
                                              const lvlm_checkpoint *inputs,
                                              const char *prefix, lvlm_error *err);

/* The memory that looking at the images of a batch takes before the text is read: what
 * the tower and the connector compute, pixels not counted; 0 without images. */
LVLM_MUST_CHECK int lvlm_model_images_bytes(lvlm_model *model, uint64_t *out,
                                            const lvlm_checkpoint *inputs,
                                            const char *prefix, lvlm_error *err);

/* The gradient of a weight by its native name: F32, or F64 when that is the precision,
 * borrowed from the model; false when it is frozen or not there. */
bool lvlm_model_gradient(const lvlm_model *model, lvlm_tensor *out, const char *name);
void lvlm_model_zero_gradients(lvlm_model *model);

/* The values of a trained weight that the model owns, in its precision, for the
 * caller to change between passes; NULL when it is frozen, not there, or stays in
 * the file. */
void *lvlm_model_weight(lvlm_model *model, const char *name);

/* ---- adapters ------------------------------------------------------------------- */

/* The factors of one adapted module, in the model's precision: values, for the caller
 * to change between passes, and gradients. B's rows are those of the module's parts,
 * one part after another. */
typedef struct lvlm_factors {
    void *a, *b;
    const void *da, *db;
    size_t a_numel, b_numel;
} lvlm_factors;

/* Those of options->adapter->at[i]; false when there is none. Borrowed. Every backward
 * pass adds to the gradients; lvlm_model_zero_gradients is for them too. */
bool lvlm_model_factors(const lvlm_model *model, lvlm_factors *out, size_t i);

/* Does training change the weight of this native name, by itself or when the adapter is
 * folded in? */
bool lvlm_model_is_trained(lvlm_model *model, const char *name);

/* Give back the memory that passes keep for the next one. */
void lvlm_model_trim(lvlm_model *model);

/* ---- dropout -------------------------------------------------------------------- */

/* What dropout draws from. */
typedef struct lvlm_noise {
    uint64_t adapter;     /* an adapter's dropout: a number of its own for each pass */
    uint64_t step;        /* the model's: one for each step ... */
    size_t texts, images; /* ... of which earlier passes had so many */
} lvlm_noise;

/* Of the backward passes that follow: they drop the same for the same noise, whatever
 * the number of threads, and with options->checkpointing. A forward never drops. */
void lvlm_model_set_noise(lvlm_model *model, const lvlm_noise *noise);

/* The rates of the model's own dropout in those passes, below 1, by lvlm_dropout_place;
 * only places that the family has count. At first all are 0. A text or image loses the
 * same whatever else is in its batch.  rates (LVLM_N_DROPOUTS) */
void lvlm_model_set_dropout(lvlm_model *model, const double *rates);

LVLM_END_DECLS

#endif
