/* tower.h - what all vision towers share: the interface through which the pipeline
 * knows them.
 *
 *   configuration word "vision.tower" -> one vision_tower
 *   images of a batch -> how many rows, of what shape and order -> their values */
#ifndef LVLM_RUNTIME_VISION_TOWER_H
#define LVLM_RUNTIME_VISION_TOWER_H

#include "runtime/block/features.h"
#include "runtime/block/transformer.h"

typedef struct vision_tower {
    const char *word;
    /* Read the configuration and the differences in force under `reference`. *out is
     * owned: free, also after a failure. */
    int (*open)(void **out, const lvlm_manifest *manifest, const char *reference,
                lvlm_error *err);
    int (*bind)(void *tower, weights *w, lvlm_error *err);
    void (*free)(void *tower);
    size_t (*width)(const void *tower); /* of its features */
    /* Fill in everything of `out` but the rows; arrays live in `arena`. */
    int (*plan)(const void *tower, features *out, const lvlm_images *images,
                lvlm_arena *arena, lvlm_error *err);
    /* Elements of ops_scratch that forward needs. */
    size_t (*scratch)(const void *tower, const lvlm_images *images, const features *f,
                      size_t n_threads);
    void (*announce)(const void *tower, stages *s);
    /* *tape and its arrays in `memory`, for one pass. It begins with the
     * transformer_tape of the tower's blocks. */
    int (*tape_make)(const void *tower, void **tape, workspace *memory,
                     const features *f, const lvlm_images *images, tape_keep keep,
                     lvlm_error *err);
    /* Fill in f->rows. Stops early, with them undefined, when no stage is left. */
    int (*forward)(const void *tower, void *tape, const features *f,
                   const lvlm_images *images, stages *s, const ops_scratch *scratch,
                   lvlm_error *err);
    /* Through a kept tape: from the gradient of f->rows, drows (R,C), to those of
     * the weights; `grads` are of the blocks' tape. */
    int (*backward)(const void *tower, void *tape, transformer_grads *grads,
                    const real *drows, const features *f, const lvlm_images *images,
                    const ops_scratch *scratch, lvlm_error *err);
} vision_tower;

extern const vision_tower siglip_tower;
extern const vision_tower clip_tower;
extern const vision_tower openclip_tower;
extern const vision_tower qwen2_tower;
extern const vision_tower tiles_tower;

/* The one of a word that lvlm_image_spec_read accepted. */
const vision_tower *tower_find(const char *word);

/* The settings of its blocks. */
int tower_configure(transformer_config *config, const cJSON *json, lvlm_error *err);
/* Weights of n blocks below `prefix`; has: BLOCK_*. */
int tower_bind(transformer_block *blocks, size_t n, weights *w,
               const transformer_config *config, unsigned has, const char *prefix,
               lvlm_error *err);

/* Memory for R rows through all of n blocks. */
transformer_tape_options tower_tape_options(size_t R, size_t n, tape_keep keep);

/* Each P rows attend to each other.  lo, hi (R) */
void tower_all_to_all(size_t *lo, size_t *hi, size_t R, size_t P);
/* Patch projections of squares [n, channels, side, side]; b may be NULL.
 * out (n*P,C), P = (side/patch)^2 */
int tower_project_squares(real *out, const lvlm_tensor *pixels, size_t patch,
                          const weight_matrix *w, const weight_vector *b, size_t C,
                          const ops_scratch *scratch, lvlm_error *err);
/* The gradients of w and b.  dout (n*P,C) */
int tower_project_squares_backward(const real *dout, const lvlm_tensor *pixels,
                                   size_t patch, const weight_matrix *w,
                                   const weight_vector *b, size_t C,
                                   const ops_scratch *scratch, lvlm_error *err);

#endif
