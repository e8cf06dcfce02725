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
#include "runtime/model/workspace.h"
#include "runtime/ops/activation.h"

typedef struct vit_config {
    size_t hidden, heads, mlp;
    lvlm_activation activation;
    norm_layer norm; /* what its norms are; they have their own weights */
    bool gated_mlp;  /* else two layers */
} vit_config;

/* What blocks may have besides: bits for vit_bind. */
enum { VIT_ATTENTION_BIASES = 1, VIT_GATES = 2 };

typedef struct vit_block {
    norm_layer norm1;                   /* (C) */
    weight_matrix q_w, k_w, v_w, out_w; /* (C,C) */
    weight_vector q_b, k_b, v_b, out_b; /* (C) or NULL */
    weight_vector attn_gate;            /* (1) or NULL */
    norm_layer norm2;                   /* (C) */
    weight_matrix fc1_w, up_w;          /* (M,C) W1 or Wgate; Wup */
    weight_vector fc1_b, up_b;          /* (M) */
    weight_matrix fc2_w;                /* (C,M) W2 or Wdown */
    weight_vector fc2_b;                /* (C) */
    weight_vector mlp_gate;             /* (1) or NULL */
} vit_block;

/* Activations of one block. All blocks share one set, in which later arrays lie over
 * earlier ones, unless they are kept for a backward pass. */
typedef struct vit_acts {
    size_t R;
    real *x;         /* (R,C) the block's input */
    real *normed1;   /* (R,C) */
    real *q, *k, *v; /* (R,C) turned */
    real *heads;     /* (R,C) what attention gives */
    real *attn;      /* (R,C) behind Wo */
    real *mid;       /* (R,C) x + attn */
    real *normed2;   /* (R,C) */
    real *pre, *up;  /* (R,M) before the activation; up: gated MLP only */
    real *hidden;    /* (R,M) behind it */
    real *mlp;       /* (R,C) behind W2 */
    real *out;       /* (R,C) mid + mlp */
    void *memory;    /* owned: all of the above */
} vit_acts;

/* Gradients on the way back; one set for all blocks. */
typedef struct vit_grads {
    real *x;                 /* (R,C) of a block's output, then of its input */
    real *branch, *normed;   /* (R,C) */
    real *q, *k, *v, *heads; /* (R,C) */
    real *hidden, *pre, *up; /* (R,M) */
    void *memory;
} vit_grads;

/* Who sees whom, and where. */
typedef struct vit_view {
    const size_t *lo, *hi;       /* (R) row r sees rows [lo[r], hi[r]) */
    const real *cosines, *sines; /* (R,C/heads/2), or NULL: no rotary positions */
} vit_view;

int vit_configure(vit_config *config, const cJSON *json, lvlm_error *err);
/* Weights of block i below `prefix` ("vision.blocks."). */
int vit_bind(vit_block *block, weights *w, const vit_config *config, unsigned has,
             const char *prefix, size_t i, lvlm_error *err);

/* Elements of ops_scratch that blocks over R rows need, each of which sees up to
 * `span` of them. */
size_t vit_scratch(const vit_config *config, size_t R, size_t span, size_t n_threads);
int vit_grads_make(vit_grads *grads, const vit_config *config, size_t R,
                   lvlm_error *err);
void vit_grads_free(vit_grads *grads);
/* What such a set takes, for the rows of a tape. */
int vit_grads_bytes(uint64_t *out, const vit_config *config, size_t R, lvlm_error *err);

/* The activations of n_blocks blocks in a row: one set, in which each overwrites the
 * one before; one whole set and every block's input; or one each, in which a block's
 * output is the next one's input. */
typedef struct vit_tape {
    vit_acts *blocks; /* (n) */
    size_t n, R;
    real *inputs; /* (n_blocks,R,C) TAPE_INPUTS */
    size_t held;  /* TAPE_INPUTS: the block that the set is of */
    void *memory; /* owned: inputs */
} vit_tape;

/* Free with vit_tape_free, also after a failure. */
int vit_tape_make(vit_tape *tape, const vit_config *config, size_t R, size_t n_blocks,
                  tape_keep keep, lvlm_error *err);
void vit_tape_free(vit_tape *tape);
uint64_t vit_tape_bytes(const vit_tape *tape);
/* The acts of block i, with x for its input. Block 0's x is there to be filled: pass
 * it. */
vit_acts *vit_tape_enter(vit_tape *tape, size_t i, const real *x,
                         const vit_config *config);
/* vit_block_backward of block i, whose activations are there or made again. */
void vit_tape_back(vit_tape *tape, size_t i, vit_grads *grads, const vit_block *block,
                   const vit_config *config, const vit_view *view,
                   const ops_scratch *scratch);

/* One block: acts->x to acts->out, which is acts->x when nothing is kept. */
void vit_block_forward(vit_acts *acts, const vit_block *block, const vit_config *config,
                       const vit_view *view, const ops_scratch *scratch);
/* The way back through kept acts: grads->x from the output's gradient to the input's;
 * those of the weights are summed up where they have a place. */
void vit_block_backward(vit_grads *grads, const vit_acts *acts, const vit_block *block,
                        const vit_config *config, const vit_view *view,
                        const ops_scratch *scratch);

#endif
