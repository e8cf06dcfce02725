/* vit.h - the block that every vision tower stacks: a pre-norm transformer block.
 *
 *   q, k = rope(Wq n + bq), rope(Wk n + bk), v = Wv n + bv
 *   x += [tanh(attn_gate)] (Wo attention(q, k, v) + bo)
 *   x += [tanh(mlp_gate)]  (W2 act(W1 m + b1) + b2)                     plain MLP
 *                          (Wdown (act(Wgate m + b) * (Wup m + b)) + b) gated MLP
 *
 * n, m = norm1 x, norm2 x: LayerNorm, or RMSNorm without biases. What a family lacks
 * is absent: attention biases, gates, rope. R rows of all images, C = hidden, M =
 * mlp. Towers differ in what stands before and behind the blocks, and in who sees
 * whom. */
#ifndef LVLM_RUNTIME_VISION_VIT_H
#define LVLM_RUNTIME_VISION_VIT_H

#include "runtime/model/stages.h"
#include "runtime/model/weights.h"
#include "runtime/ops/activation.h"

typedef struct vit_config {
    size_t hidden, heads, mlp;
    double norm_eps;
    lvlm_activation activation;
    bool rms_norms; /* else LayerNorm */
    bool gated_mlp; /* else two layers */
} vit_config;

/* What blocks may have besides: bits for vit_bind. */
enum { VIT_ATTENTION_BIASES = 1, VIT_GATES = 2 };

typedef struct vit_block {
    const real *norm1_w, *norm1_b;       /* (C) b: LayerNorm only */
    lvlm_stored q_w, k_w, v_w, out_w;    /* (C,C) */
    const real *q_b, *k_b, *v_b, *out_b; /* (C) or NULL */
    const real *attn_gate;               /* (1) or NULL */
    const real *norm2_w, *norm2_b;       /* (C) */
    lvlm_stored fc1_w, up_w;             /* (M,C) W1 or Wgate; Wup */
    const real *fc1_b, *up_b;            /* (M) */
    lvlm_stored fc2_w;                   /* (C,M) W2 or Wdown */
    const real *fc2_b;                   /* (C) */
    const real *mlp_gate;                /* (1) or NULL */
} vit_block;

/* Activations; every block uses the same ones. */
typedef struct vit_acts {
    size_t R;
    real *x;           /* (R,C) residual stream: a block's input, then its output */
    real *normed;      /* (R,C) */
    real *q, *k, *v;   /* (R,C) q becomes the heads' outputs */
    real *hidden, *up; /* (R,M) up: gated MLP only */
    real *branch;      /* (R,C) what is added to x */
    void *memory;      /* owned: all of the above */
} vit_acts;

/* Who sees whom, and where. */
typedef struct vit_view {
    const size_t *lo, *hi;       /* (R) row r sees rows [lo[r], hi[r]) */
    const real *cosines, *sines; /* (R,C/heads/2), or NULL: no rotary positions */
} vit_view;

int vit_configure(vit_config *config, const cJSON *json, lvlm_error *err);
/* Weights of block i below `prefix` ("vision.blocks."). */
int vit_bind(vit_block *block, weights *w, const vit_config *config, unsigned has,
             const char *prefix, size_t i, lvlm_error *err);

/* Elements of ops_scratch that blocks over R rows need. */
size_t vit_scratch(const vit_config *config, size_t R, size_t n_threads);
/* Free with vit_acts_free, also after a failure. */
int vit_acts_make(vit_acts *acts, const vit_config *config, size_t R, lvlm_error *err);
void vit_acts_free(vit_acts *acts);

/* One block: acts->x from its input to its output. */
void vit_block_forward(vit_acts *acts, const vit_block *block, const vit_config *config,
                       const vit_view *view, const ops_scratch *scratch);

#endif
