/* siglip.h - the SigLIP vision tower: a plain pre-norm ViT without a class token.
 *
 *   e[p] = W patch[p] + b + positions[p]                   P = grid^2 patches an image
 *   L times: x += Wo attention(LN1 x) + bo;  x += W2 gelu(W1 LN2 x + b1) + b2
 *   out = LN x
 *
 * R = images * P rows, C = hidden, M = mlp. Attention is all-to-all inside an image. */
#ifndef LVLM_RUNTIME_VISION_SIGLIP_H
#define LVLM_RUNTIME_VISION_SIGLIP_H

#include "runtime/model/stages.h"
#include "runtime/model/weights.h"
#include "runtime/ops/activation.h"

typedef struct siglip_config {
    size_t hidden, layers, heads, mlp;
    size_t channels, patch, image, grid; /* grid = image / patch */
    double norm_eps;
    lvlm_activation activation;
} siglip_config;

typedef struct siglip_block {
    const real *norm1_w, *norm1_b;       /* (C) */
    lvlm_stored q_w, k_w, v_w, out_w;    /* (C,C) */
    const real *q_b, *k_b, *v_b, *out_b; /* (C) */
    const real *norm2_w, *norm2_b;       /* (C) */
    lvlm_stored fc1_w;                   /* (M,C) */
    const real *fc1_b;                   /* (M) */
    lvlm_stored fc2_w;                   /* (C,M) */
    const real *fc2_b;                   /* (C) */
} siglip_block;

typedef struct siglip {
    siglip_config config;
    lvlm_stored patch_w;         /* (C, channels*patch^2) */
    const real *patch_b;         /* (C) */
    const real *positions;       /* (P,C) */
    siglip_block *blocks;        /* (layers), owned */
    const real *norm_w, *norm_b; /* (C) */
} siglip;

/* Activations; every block uses the same ones. */
typedef struct siglip_acts {
    size_t R;
    real *x;         /* (R,C) residual stream: a block's input, then its output */
    real *normed;    /* (R,C) */
    real *q, *k, *v; /* (R,C) q becomes the heads' outputs */
    real *hidden;    /* (R,M) */
    real *branch;    /* (R,C) what is added to x */
    real *pixels;    /* (channels,image,image) one image */
    real *patches;   /* (P,channels*patch^2) its patches */
    size_t *lo, *hi; /* (R) rows of the same image */
} siglip_acts;

/* Read the configuration. Free with siglip_free, also after a failure. */
int siglip_open(siglip *tower, const cJSON *config, lvlm_error *err);
int siglip_bind(siglip *tower, weights *w, lvlm_error *err);
void siglip_free(siglip *tower);

size_t siglip_rows(const siglip *tower); /* P */
/* Elements of ops_scratch that a forward over R rows needs. */
size_t siglip_scratch(const siglip *tower, size_t R, size_t n_threads);
void siglip_announce(const siglip *tower, stages *s);

/* All images of `pixels` [images, channels, image, image]. Stops early, with `out`
 * undefined, when no stage is left to compute.  out (R,C) */
int siglip_forward(const siglip *tower, real *out, const lvlm_tensor *pixels, stages *s,
                   const ops_scratch *scratch, lvlm_error *err);

/* One block: acts->x from its input to its output. */
void siglip_block_forward(siglip_acts *acts, const siglip_block *block,
                          const siglip_config *config, const ops_scratch *scratch);

#endif
