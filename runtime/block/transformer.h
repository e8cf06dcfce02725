/* transformer.h - the block that towers and the language model stack, forward and
 * backward.
 *
 *   q = rope(q_norm(Wq n + bq)), k = rope(k_norm(Wk s + bk)), v = Wv s + bv
 *   x += drop(post_attn_norm(Wo attention(q, k, v) + bo)) * tanh(attn_gate)
 *   x += post_mlp_norm(drop(MLP(norm2 x))) * tanh(mlp_gate)              n = norm1 x
 *
 *   MLP(m) = Wdown act(Wgate m + b) + b                  plain
 *            Wdown (act(Wgate m + b) * (Wup m + b)) + b  gated
 *
 * s is n in self-attention; in cross-attention it is rows of an image. What a block
 * lacks is absent: biases, norms per head, norms after a branch, gates, rotary
 * positions, dropout. N rows, C = hidden, D = head_dim, Q = heads D, K = kv_heads D,
 * F = mlp, S rows of keys and values: N in self-attention.
 *
 * After attention no row reads another, so rows whose result is not needed can be left
 * out of the second half: M rows remain. If they are in one piece and there is no
 * backward, only keys and values are computed of the others.
 *
 *   transformer_weights.c   names, shapes, fields
 *   transformer.c           one block
 *   transformer_tape.c      the memory of a pass through all of them */
#ifndef LVLM_RUNTIME_BLOCK_TRANSFORMER_H
#define LVLM_RUNTIME_BLOCK_TRANSFORMER_H

#include "runtime/block/weights.h"
#include "runtime/block/workspace.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/dropout.h"

typedef struct transformer_config {
    size_t hidden, heads, kv_heads, head_dim, mlp;
    norm_layer norm; /* what the norms of rows are; each has its own weights */
    lvlm_activation activation;
    bool head_norms;     /* some block has q_norm and k_norm */
    double query_scalar; /* attention scale is its -1/2th power */
    double attn_softcap; /* 0: none */
} transformer_config;

typedef struct transformer_block {
    bool is_cross;
    bool has_window;                   /* of the text: rows see the nearest ones only */
    norm_layer norm1;                  /* (C) before attention */
    weight_matrix q_w;                 /* (Q,C) */
    weight_matrix k_w, v_w;            /* (K,C) */
    weight_vector q_b, k_b, v_b;       /* (Q), (K), (K) */
    norm_layer q_norm, k_norm;         /* (D) */
    weight_matrix out_w;               /* (C,Q) */
    weight_vector out_b;               /* (C) */
    norm_layer post_attn_norm;         /* (C) */
    weight_vector attn_gate, mlp_gate; /* (1) before tanh; not with norms after */
    norm_layer norm2;                  /* (C) before the MLP */
    weight_matrix gate_w, up_w;        /* (F,C) up: only of a gated MLP */
    weight_vector gate_b, up_b;        /* (F) */
    weight_matrix down_w;              /* (C,F) */
    weight_vector down_b;              /* (C) */
    norm_layer post_mlp_norm;          /* (C) */
} transformer_block;

/* Weights of block i below `prefix` ("text.blocks."). */
int transformer_bind(transformer_block *block, weights *w,
                     const transformer_config *config, const char *prefix, size_t i,
                     lvlm_error *err);

static inline bool transformer_is_gated(const transformer_block *block)
{
    return block->up_w.w.data != NULL;
}

/* Memory for keys and values that later rows attend to, in a dtype of its own, to which
 * they are rounded: all rows attend to what is in there. */
typedef struct transformer_cache {
    void *k, *v; /* (rows,K); NULL: none */
    lvlm_dtype dtype;
} transformer_cache;

/* What a row attends to that continues a text of its own. */
typedef struct transformer_row {
    transformer_cache cache; /* with those of earlier rows */
    size_t S;      /* how many; self-attention: the last is the row's own, and is
                      written */
    size_t lo, hi; /* it attends to [lo, hi) */
} transformer_row;

/* What the rows of one block attend to, and at which positions. */
typedef struct transformer_view {
    size_t N;
    const size_t *lo, *hi;       /* (N) row n attends to keys [lo[n], hi[n]) */
    const real *cosines, *sines; /* (N,D/2) or NULL: no rotary positions */
    const real *logn;            /* (N) factors of queries, or NULL */
    const size_t *wanted;        /* (n_wanted) rows that remain after attention,
                                    increasing; NULL: all */
    size_t n_wanted;
    bool only_keys; /* of the others, which are before the first of them or after the
                       last; forward only */
    transformer_cache cache;     /* where the S keys and values are put, if anywhere */
    const transformer_row *rows; /* (N) in place of lo, hi, cache, S and states: each
                                    row has the results that it has by itself, if they
                                    are at most LINEAR_ALIKE; NULL: those of a pass */
    dropout attention_drop;      /* of probabilities */
    dropout attn_drop, mlp_drop; /* of what the branches add, by rows of x */
    /* Cross-attention. */
    size_t S;
    const real
        *states;      /* (S,C) what keys and values are of; NULL: the cache has them */
    real *dstates;    /* (S,C) += their gradient; NULL: not needed */
    const real *sees; /* (N) 1, or 0: the row attends to nothing and has no MLP */
} transformer_view;

/* Activations of one block; which of them are kept is decided in transformer_tape.c. */
typedef struct transformer_acts {
    real *x;         /* (N,C) the block's input */
    real *normed1;   /* (N,C) */
    real *raw_q, *q; /* (N,Q) before q_norm; rotated and scaled */
    real *raw_k, *k; /* (S,K) before k_norm; rotated */
    real *v;         /* (S,K) */
    real *heads;     /* (N,Q) attention's output */
    real *attn;      /* (N,C) after Wo */
    real *mid;       /* (N,C), then (M,C): x and the attention branch */
    real *normed2;   /* (M,C) */
    real *gate, *up; /* (M,F) */
    real *hidden;    /* (M,F) after the activation */
    real *mlp;       /* (M,C) after Wdown */
    real *out;       /* (M,C) mid and the MLP branch */
} transformer_acts;

/* Gradients; one set for all blocks. */
typedef struct transformer_grads {
    real *x;                  /* (N,C) of a block's output, then of its input */
    real *branch, *normed;    /* (N,C) */
    real *q, *heads;          /* (N,Q) */
    real *k, *v, *raw_k;      /* (S,K) */
    real *hidden, *gate, *up; /* (N,F) */
} transformer_grads;

/* Elements of ops_scratch for N rows; S: the most keys of an attention. */
size_t transformer_scratch(const transformer_config *config, size_t N, size_t S,
                           size_t n_threads);

/* One block: acts->x to acts->out. */
void transformer_forward(transformer_acts *acts, const transformer_block *block,
                         const transformer_config *config, const transformer_view *view,
                         const ops_scratch *scratch);
/* grads->x from the gradient of the output to that of the input; those of weights and
 * view->dstates accumulate. Needs what a tape keeps, and no cache. */
void transformer_backward(transformer_grads *grads, const transformer_acts *acts,
                          const transformer_block *block,
                          const transformer_config *config,
                          const transformer_view *view, const ops_scratch *scratch);

/* ---- all blocks of a pass -------------------------------------------------------- */

typedef struct transformer_tape_options {
    size_t N;
    bool has_states; /* of cross-attention; else such blocks are passed over */
    size_t S;        /* how many */
    tape_keep keep;
    size_t first;      /* the block where backward ends; without one the number of
                          blocks */
    size_t narrows, M; /* M rows remain after attention in block `narrows`; the number
                          of blocks: in none */
} transformer_tape_options;

typedef struct transformer_tape {
    const transformer_config *config; /* borrowed */
    const transformer_block *blocks;  /* (n) borrowed */
    size_t n;
    transformer_tape_options options;
    transformer_acts shared; /* of blocks that keep nothing, and what the others do not
                                keep */
    transformer_acts *kept; /* (n) TAPE_ALL, from `first` on; TAPE_INPUTS: one for every
                                block, one after the other */
    real *inputs;           /* (n - first,N,C) TAPE_INPUTS */
    size_t held;            /* TAPE_INPUTS: the block that kept[0] is of */
    real *out;              /* (N,C) leaving the last block */
} transformer_tape;

/* Memory for one pass through n blocks, in `memory`. */
int transformer_tape_make(transformer_tape *tape, workspace *memory,
                          const transformer_config *config,
                          const transformer_block *blocks, size_t n,
                          const transformer_tape_options *options, lvlm_error *err);
int transformer_grads_make(transformer_grads *grads, workspace *memory,
                           const transformer_tape *tape, lvlm_error *err);

/* Where the input of the first block goes.  (N,C) */
real *transformer_tape_input(transformer_tape *tape);
/* Block i from x to its output, which is returned: the memory of x is not kept. With
 * view->rows there may be fewer rows than the tape has room for. */
real *transformer_tape_forward(transformer_tape *tape, size_t i, real *x,
                               const transformer_view *view,
                               const ops_scratch *scratch);
/* transformer_backward of block i, whose activations are kept or computed again. */
void transformer_tape_backward(transformer_tape *tape, size_t i,
                               transformer_grads *grads, const transformer_view *view,
                               const ops_scratch *scratch);

#endif
