/* block.h - one block of the language model, there and back.
 *
 *   x += [post_attn_norm] Wo attention(rope(Wq n), rope(Wk n), Wv n),  n = norm1 x
 *   x += [post_mlp_norm] Wdown (act(Wgate n) * Wup n),                 n = norm2 x
 *
 * Norms are RMS norms whose weights are used as norm_offset + w; the ones in brackets
 * exist when `sandwich`. Rows are packed (packing.h): N rows, C = hidden, Q = heads *
 * head_dim, K = kv_heads * head_dim, F = mlp. The blocks that look at the image share
 * everything but attention (cross.h).
 *
 * Behind the last attention no row reads another: what is left of the last block is
 * computed for the rows alone whose outcome is wanted, M of them. */
#ifndef LVLM_RUNTIME_TEXT_BLOCK_H
#define LVLM_RUNTIME_TEXT_BLOCK_H

#include "runtime/model/weights.h"
#include "runtime/ops/activation.h"
#include "runtime/packing.h"
#include "runtime/positions.h"

/* Rotary frequencies: theta^(-2j/head_dim), and what is done to them. */
typedef struct decoder_rope {
    double theta;
    bool llama3; /* scaled (ops/rope.h) */
    double factor, low, high, original;
    bool dynamic_ntk;    /* theta grows where a text is longer than train_length */
    bool logn;           /* queries grow there with the logarithm of their position;
                            both in evaluation alone */
    size_t train_length; /* 0: neither */
    size_t sections[3];  /* pairs of a head that turn by time, row, column */
    size_t axes;         /* 1, or 3 */
    lvlm_position_rules positions; /* 3 axes only */
} decoder_rope;

typedef struct decoder_config {
    size_t hidden, layers, heads, kv_heads, head_dim, mlp;
    size_t embed_rows; /* of the table of word vectors */
    size_t own_rows;   /* the same where the head has another number of rows, else 0 */
    int64_t pad; /* its row has no gradient from being looked up; -1: there is none */
    norm_layer norm; /* what its norms are; they have their own weights */
    decoder_rope rope;
    double query_scalar;     /* attention scale is its -1/2th power */
    double attn_softcap;     /* 0: none */
    size_t sliding_window;   /* in even blocks; 0: none, or not in force */
    bool window_cuts_prefix; /* as early versions of the reference do */
    int64_t first_position;  /* of column 0 */
    size_t max_positions;    /* that the model was trained on; computed beyond them */
    double embed_scale;
    bool nudge;    /* what enters block 0 is moved by its last bit (model.h) */
    bool sandwich; /* norms behind attention and MLP too */
    bool qkv_bias;
    bool causal; /* each row sees those before it; else the prefix sees all of itself */
    lvlm_prefix_rules prefix;
    bool
        attends_unseeing; /* rows that see no image attend to all of it all the same, as
                              versions of the reference do */
    lvlm_activation activation;
} decoder_config;

typedef struct decoder_block {
    norm_layer norm1;                  /* (C) before attention */
    weight_matrix q_w;                 /* (Q,C) */
    weight_matrix k_w, v_w;            /* (K,C) */
    weight_vector q_b, k_b, v_b;       /* (Q), (K), (K) qkv_bias only */
    weight_matrix out_w;               /* (C,Q) */
    norm_layer q_norm, k_norm;         /* (head_dim) cross-attention only */
    weight_vector attn_gate, mlp_gate; /* (1) before tanh; cross-attention only */
    norm_layer post_attn_norm;         /* (C) sandwich only */
    norm_layer norm2;                  /* (C) before the MLP */
    weight_matrix gate_w, up_w;        /* (F,C) */
    weight_matrix down_w;              /* (C,F) */
    norm_layer post_mlp_norm;          /* (C) sandwich only */
} decoder_block;

/* What all blocks of one pass share. */
typedef struct decoder_pass {
    size_t N;
    size_t past; /* rows before them, whose k and v a cache holds */
    const lvlm_packing *packing;
    real *cosines, *sines; /* (N,head_dim/2) */
    real *logn;            /* (N) factors of queries; NULL: all are 1 */
    const size_t *wanted;  /* (n_wanted) rows that are left, increasing, from behind the
                              attention of block `narrows` on; NULL: all are */
    size_t n_wanted;       /* N when all are */
    size_t narrows;        /* the number of blocks: behind the last norm */
} decoder_pass;

/* Activations of one block. All blocks share one set, in which later arrays lie over
 * earlier ones, unless they are kept for a backward pass: then x stays what it was, and
 * so does everything else that the way back reads. From mid on (N) is (M) where rows
 * are left out. */
typedef struct decoder_acts {
    real *x;         /* (N,C) the block's input */
    real *normed1;   /* (N,C) */
    real *raw_q;     /* (N,Q) before its norm; cross-attention only */
    real *q;         /* (N,Q) turned, scaled */
    real *k, *v;     /* (N,K) turned; self-attention only; in a cache: rows of it, those
                        before them stand there too */
    real *heads;     /* (N,Q) what attention gives */
    real *attn;      /* (N,C) behind Wo */
    real *attn_out;  /* (N,C) behind post_attn_norm */
    real *mid;       /* (N,C) x + attn_out */
    real *normed2;   /* (N,C) */
    real *gate, *up; /* (N,F) */
    real *hidden;    /* (N,F) the gated product */
    real *mlp;       /* (N,C) behind Wdown */
    real *mlp_out;   /* (N,C) behind post_mlp_norm */
    real *out;       /* (N,C) mid + mlp_out */
    void *memory;    /* owned: all of the above */
} decoder_acts;

/* Gradients on the way back; one set for all blocks. */
typedef struct decoder_grads {
    real *x;                  /* (N,C) of a block's output, then of its input */
    real *branch, *normed;    /* (N,C) */
    real *q, *heads;          /* (N,Q) */
    real *k, *v;              /* (N,K) */
    real *hidden, *gate, *up; /* (N,F) */
    void *memory;
} decoder_grads;

typedef struct decoder_acts_options {
    size_t N;
    size_t M; /* rows behind attention; 0: N */
    bool keep;
    bool cross; /* kept: it may be a block that looks at the image */
    /* Kept: for this block alone. What only gradients that it does not have would read
     * lies in the arrays of `lender`, which is not kept and outlives the set; and `out`
     * is the caller's to set. NULL: for any block, all arrays its own. */
    const decoder_block *block;
    const struct decoder_acts *lender;
} decoder_acts_options;

/* Free with decoder_acts_free, also after a failure. */
int decoder_acts_make(decoder_acts *acts, const decoder_config *config,
                      const decoder_acts_options *options, lvlm_error *err);
void decoder_acts_free(decoder_acts *acts);
int decoder_grads_make(decoder_grads *grads, const decoder_config *config, size_t N,
                       lvlm_error *err);
void decoder_grads_free(decoder_grads *grads);

/* Block number i: acts->x to acts->out, which is acts->x when nothing is kept. */
void decoder_block_forward(decoder_acts *acts, const decoder_block *block,
                           const decoder_config *config, size_t i,
                           const decoder_pass *pass, const ops_scratch *scratch);
/* The way back through kept acts: grads->x from the output's gradient to the input's;
 * those of the weights are summed up where they have a place. */
void decoder_block_backward(decoder_grads *grads, const decoder_acts *acts,
                            const decoder_block *block, const decoder_config *config,
                            size_t i, const decoder_pass *pass,
                            const ops_scratch *scratch);

/* The MLP half: acts->mlp from acts->mid; and back: grads->normed of its input from
 * grads->branch of its output. */
void decoder_mlp_forward(decoder_acts *acts, const decoder_block *block,
                         const decoder_config *config, size_t N,
                         const ops_scratch *scratch);
void decoder_mlp_backward(decoder_grads *grads, const decoder_acts *acts,
                          const decoder_block *block, const decoder_config *config,
                          size_t N, const ops_scratch *scratch);

#endif
