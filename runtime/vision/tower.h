/* tower.h - what all vision towers share, and the interface through which the pipeline
 * knows them.
 *
 *   form of the images (images.h) -> one kind of tower
 *   images of a batch -> how many rows, of what shape and order -> their values */
#ifndef LVLM_RUNTIME_VISION_TOWER_H
#define LVLM_RUNTIME_VISION_TOWER_H

#include "runtime/block/features.h"
#include "runtime/block/transformer.h"

#define TOWER_BLOCKS "vision.blocks." /* before names of weights and stages */
#define TOWER_GLOBAL_BLOCKS "vision.global_blocks."

/* A tower. The first member of the struct that its kind has. */
typedef struct vision_tower {
    const struct tower_kind *kind;
    transformer_config block;
    size_t channels, patch, frames; /* a patch: (channels,frames,patch,patch) */
    size_t layers;                  /* blocks that are run */
    size_t global_layers;           /* and, after these, gated ones */
    size_t width;                   /* of the features */
    weight_matrix patch_w;          /* (C, values of a patch) */
    transformer_block *blocks;      /* (layers + global_layers), owned */
} vision_tower;

/* `tower` and `tape` are a kind's own structs; these begin with a vision_tower and with
 * the transformer_tape of its blocks. */
typedef struct tower_kind {
    size_t size;            /* of a tower */
    const weight_row *rows; /* besides blocks and patch_w */
    /* Something is computed between patches and blocks, and after these: the stages
     * vision.embed and vision.out. */
    bool has_ends;
    /* Read what only this kind has: layers, global_layers, width. Fields that all have
     * are there. */
    int (*open)(void *tower, const lvlm_manifest *manifest,
                const lvlm_image_spec *images, const char *reference, lvlm_error *err);
    /* Fill in everything of `out` but the rows; arrays live in `arena`. */
    int (*plan)(const void *tower, features *out, const lvlm_images *images,
                lvlm_arena *arena, lvlm_error *err);
    /* *tape and its arrays in `memory`, for one pass. */
    int (*tape_make)(const void *tower, void **tape, workspace *memory,
                     const features *f, tape_keep keep, lvlm_error *err);
    /* Fill in f->rows. Stops early, with them undefined, when no stage is left. */
    int (*forward)(const void *tower, void *tape, const features *f,
                   const lvlm_images *images, stages *s, const ops_scratch *scratch,
                   lvlm_error *err);
    /* Through a kept tape: from the gradient of f->rows, drows (R,C), to those of
     * the weights; `grads` are of the blocks' tape. */
    int (*backward)(const void *tower, void *tape, transformer_grads *grads,
                    const real *drows, const features *f, const lvlm_images *images,
                    const ops_scratch *scratch, lvlm_error *err);
} tower_kind;

extern const tower_kind plain_tower;
extern const tower_kind qwen2_tower;
extern const tower_kind tiles_tower;

/* Read the configuration and the differences in force under `reference`. Free *out with
 * tower_free, also after a failure. */
int tower_open(vision_tower **out, const lvlm_manifest *manifest,
               const lvlm_image_spec *images, const char *reference, lvlm_error *err);
int tower_bind(vision_tower *tower, weights *w, lvlm_error *err);
void tower_free(vision_tower *tower);

/* Elements of ops_scratch that a pass needs. */
size_t tower_scratch(const vision_tower *tower, const features *f, size_t n_threads);
void tower_announce(const vision_tower *tower, stages *s);

/* ---- for the kinds --------------------------------------------------------------- */

/* *tape of `size` bytes, zeroed but for its first member, which is made. */
int tower_tape_make(void **tape, size_t size, workspace *memory,
                    const vision_tower *tower, const features *f, tape_keep keep,
                    lvlm_error *err);

/* Projections of all patches of `pixels`, which are squares [..., channels, side, side]
 * or patches [R, values]; NULL: none. b may be NULL.  out (patches,C) */
int tower_project(real *out, const vision_tower *tower, const lvlm_tensor *pixels,
                  const weight_vector *b, const ops_scratch *scratch, lvlm_error *err);
/* The gradients of patch_w and b.  dout (patches,C) */
int tower_project_backward(const real *dout, const vision_tower *tower,
                           const lvlm_tensor *pixels, const weight_vector *b,
                           const ops_scratch *scratch, lvlm_error *err);

#endif
