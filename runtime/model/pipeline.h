/* pipeline.h - the model in one precision, and one pass through it; private to
 * runtime/model.
 *
 *   read -> announce -> scratch -> see (images) -> decoder and head, the caller's */
#ifndef LVLM_RUNTIME_MODEL_PIPELINE_H
#define LVLM_RUNTIME_MODEL_PIPELINE_H

#include "runtime/batch/cross_view.h"
#include "runtime/connector/connector.h"
#include "runtime/model/adapters.h"
#include "runtime/model/engine.h"
#include "runtime/model/gradients.h"
#include "runtime/text/decoder.h"
#include "runtime/text/head.h"
#include "runtime/vision/tower.h"

typedef struct pipeline {
    vision_tower *tower;
    vision_connector *connector;
    decoder text;
    text_head head;
    weights weights;
    gradients gradients;
    adapters adapters;
    lvlm_input_spec spec;
    size_t n_threads;
    unsigned terms;          /* of ops_scratch */
    lvlm_dtype cache_dtype;  /* of keys and values that sessions keep */
    tape_keep keep;          /* what training keeps */
    noise noise;             /* what it drops, besides adapters */
    lvlm_stage_sink passing; /* of backward: takes nothing, and counts */
    bool noted_positions;    /* that a batch has more than the model was made for */
    const lvlm_feature_store *store; /* or NULL */
    struct step_memory *steps;       /* of generation; NULL before its first step */
    workspace_pool pool;             /* of passes */
} pipeline;

/* What one forward has; freed part by part as it goes. */
typedef struct pass {
    pipeline *p;
    bool unlabelled;    /* labels that come with the inputs are ignored */
    const noise *noise; /* what a backward drops; NULL: nothing */
    lvlm_inputs inputs;
    lvlm_packing packing;
    lvlm_cross_view cross_view; /* cross-attention only */
    features features;
    stages stages;
    size_t tower_stages; /* how many there are */
    bool shows_tower;    /* some of them are wanted, or may be given ... */
    bool shows_images;   /* ... or some of the connector's */
    ops_scratch scratch;
    void *tower_tape, *connector_tape;
    size_t n_image_rows;
    real *image_rows;           /* (n_image_rows,C) of the connector */
    workspace memory;           /* of scratch and image_rows: for the whole pass */
    workspace tower_memory;     /* of the tower's tape */
    workspace connector_memory; /* of features.rows and the connector's tape */
} pass;

/* Inputs to packed rows, positions and what sees what. `t` holds p, stages, unlabelled
 * and noise; free with pass_free, also after a failure. */
int pass_read(pass *t, const lvlm_checkpoint *inputs, const char *prefix,
              lvlm_error *err);
bool pass_has_images(const pass *t);
/* Do gradients reach the image rows? */
bool pass_trains_images(const pass *t);
/* NULL: no cross-attention in this batch. Borrowed. */
const lvlm_cross_view *pass_cross_view(const pass *t);
/* The stages of tower, connector and decoder; the head's are head_announce's. */
void pass_announce(pass *t);
/* Of the decoder in training; to_images: gradients reach the image rows. */
decoder_tape_options pass_tape_options(const pass *t, bool to_images);
/* One scratch for every op of the pass. */
int pass_make_scratch(pass *t, lvlm_error *err);
/* Run tower and connector; `tower` and `connector`: what they keep for backward. */
int pass_forward_images(pass *t, tape_keep tower, bool connector, lvlm_error *err);
/* Of these the tower: rows of t->features. `all`: also of images that no text sees;
 * their rows are 0 otherwise. */
int pass_forward_tower(pass *t, tape_keep keep, bool all, lvlm_error *err);
/* From the gradient of the connector's rows to connector and tower. */
int pass_backward_images(pass *t, const real *dimage_rows, lvlm_error *err);
void pass_free(pass *t);

/* Does the tower take the images in parts, each the next pass_tower_part of them, all
 * seen or none? */
bool pass_tower_is_cut(const pass *t, tape_keep keep);
size_t pass_tower_part(const pass *t, size_t first);
/* The features of a part, without rows; lists live in `arena`. */
int pass_tower_plan(features *out, lvlm_images_part *part, const pass *t, size_t first,
                    size_t n, lvlm_arena *arena, lvlm_error *err);

/* Do the parts take what they are given (fit.c)? Of a cut model, the blocks that
 * look at images may be missing. LVLM_EFORMAT names both sides. */
int pipeline_fit(const pipeline *p, bool is_cut, lvlm_error *err);

/* footprint.c, as engine.h has it. */
int pipeline_backward_bytes(void *model, uint64_t *out, const lvlm_checkpoint *inputs,
                            const char *prefix, lvlm_error *err);
int pipeline_images_bytes(void *model, uint64_t *out, const lvlm_checkpoint *inputs,
                          const char *prefix, lvlm_error *err);

/* Nothing is dropped, and teams have the model's number of threads. */
void pipeline_evaluates(pipeline *p);

/* Generation (decoding.h), as engine.h has it. */
int decoding_begin(struct lvlm_session **out, void *model,
                   const lvlm_checkpoint *inputs, const char *prefix,
                   const lvlm_stage_sink *sink, lvlm_error *err);
int decoding_step(const lvlm_continuation *steps, size_t n, lvlm_error *err);
void decoding_keep(struct lvlm_session *session, size_t n);
bool decoding_cached(const struct lvlm_session *session, lvlm_tensor *keys,
                     lvlm_tensor *values, size_t block);
void decoding_end(struct lvlm_session *session);
void step_memory_free(struct step_memory *memory);

#endif
