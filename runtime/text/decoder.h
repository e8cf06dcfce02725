/* decoder.h - the language model: one decoder, driven by its configuration.
 *
 *   x = scale * E[id]  or a row of the connector
 *   L times:
 *     x += [post_attn_norm] Wo attention(rope(Wq n), rope(Wk n), Wv n),  n = norm1 x
 *     x += [post_mlp_norm] Wdown (act(Wgate n) * Wup n),                 n = norm2 x
 *   out = norm x
 *
 * Blocks in a list of their own look at the image instead (cross.h):
 *     x += tanh(attn_gate) Wo attention(q_norm Wq n, k_norm Wk z, Wv z), z: image rows
 *     x += tanh(mlp_gate) MLP(norm2 x), where the row sees anything
 *
 * Norms are RMS norms whose weights are used as norm_offset + w; the ones in brackets
 * exist when `sandwich`. Rows are packed (packing.h): N rows, C = hidden, Q = heads *
 * head_dim, K = kv_heads * head_dim, F = mlp, V = vocab. Logits and loss: head.h. */
#ifndef LVLM_RUNTIME_TEXT_DECODER_H
#define LVLM_RUNTIME_TEXT_DECODER_H

#include "runtime/model/stages.h"
#include "runtime/model/weights.h"
#include "runtime/ops/activation.h"
#include "runtime/positions.h"
#include "runtime/sight.h"

/* Rotary frequencies: theta^(-2j/head_dim), and what is done to them. */
typedef struct decoder_rope {
    double theta;
    bool llama3; /* scaled (ops/rope.h) */
    double factor, low, high, original;
    bool dynamic_ntk;    /* theta grows where a text is longer than train_length */
    bool logn;           /* queries grow there with the logarithm of their position */
    size_t train_length; /* 0: neither */
    size_t sections[3];  /* pairs of a head that turn by time, row, column */
    size_t axes;         /* 1, or 3 */
    lvlm_position_rules positions; /* 3 axes only */
} decoder_rope;

typedef struct decoder_config {
    size_t hidden, layers, heads, kv_heads, head_dim, mlp;
    size_t embed_rows; /* of the table of word vectors */
    size_t own_rows;   /* the same where the head has another number of rows, else 0 */
    double norm_eps;
    int64_t norm_offset; /* 1: Gemma; 0 elsewhere */
    decoder_rope rope;
    double query_scalar;     /* attention scale is its -1/2th power */
    double attn_softcap;     /* 0: none */
    size_t sliding_window;   /* in even blocks; 0: none, or not in force */
    bool window_cuts_prefix; /* as early versions of the reference do */
    int64_t first_position;  /* of column 0 */
    double embed_scale;
    bool sandwich; /* norms behind attention and MLP too */
    bool qkv_bias;
    bool causal; /* each row sees those before it; else the prefix sees all of itself */
    bool
        attends_unseeing; /* rows that see no image attend to all of it all the same, as
                              versions of the reference do */
    lvlm_activation activation;
} decoder_config;

typedef struct decoder_block {
    const real *norm1;                /* (C) before attention */
    lvlm_stored q_w;                  /* (Q,C) */
    lvlm_stored k_w, v_w;             /* (K,C) */
    const real *q_b, *k_b, *v_b;      /* (Q), (K), (K) qkv_bias only */
    lvlm_stored out_w;                /* (C,Q) */
    const real *q_norm, *k_norm;      /* (head_dim) cross-attention only */
    const real *attn_gate, *mlp_gate; /* (1) before tanh; cross-attention only */
    const real *post_attn_norm;       /* (C) sandwich only */
    const real *norm2;                /* (C) before the MLP */
    lvlm_stored gate_w, up_w;         /* (F,C) */
    lvlm_stored down_w;               /* (C,F) */
    const real *post_mlp_norm;        /* (C) sandwich only */
} decoder_block;

typedef struct decoder {
    decoder_config config;
    lvlm_stored embed;     /* (embed_rows,C) */
    bool *is_cross;        /* (layers), owned: looks at the image */
    decoder_block *blocks; /* (layers), owned */
    const real *norm;      /* (C) */
} decoder;

/* Activations; every block uses the same ones. */
typedef struct decoder_acts {
    size_t N;
    real *x;               /* (N,C) residual stream: a block's input, then its output */
    real *normed;          /* (N,C) */
    real *q;               /* (N,Q) becomes the heads' outputs */
    real *k, *v;           /* (N,K) */
    real *gate, *up;       /* (N,F) gate becomes the gated product */
    real *branch;          /* (N,C) what is added to x */
    real *cosines, *sines; /* (N,head_dim/2) */
    real *logn;            /* (N) factors of queries; NULL: all are 1 */
    real *spare;  /* (B*T,C) rows with padding between, when there is padding */
    void *memory; /* owned: all of the above */
} decoder_acts;

/* Read the configuration; the family's differences that are in force under `reference`
 * decide about windows, positions and cross-attention. Free with decoder_free, also
 * after a failure. */
int decoder_open(decoder *text, const lvlm_manifest *manifest, const char *reference,
                 lvlm_error *err);
int decoder_bind(decoder *text, weights *w, lvlm_error *err);
void decoder_free(decoder *text);

/* Elements of ops_scratch that a forward over N rows and n_keys image rows needs. */
size_t decoder_scratch(const decoder *text, size_t N, size_t n_keys, size_t n_threads);
void decoder_announce(const decoder *text, stages *s);

/* Free with decoder_acts_free, also after a failure. */
int decoder_acts_make(decoder_acts *acts, const decoder *text,
                      const lvlm_packing *packing, lvlm_error *err);
void decoder_acts_free(decoder_acts *acts);

/* From ids and connector rows to acts->normed, the final norm's output. Rows of the
 * text that are image rows take theirs; with a `sight` blocks look at them instead,
 * without one those blocks are left out. Stops early when no stage is left to
 * compute. image_rows (n,C), NULL without images */
int decoder_forward(const decoder *text, decoder_acts *acts,
                    const lvlm_packing *packing, const real *image_rows,
                    const lvlm_sight *sight, stages *s, const ops_scratch *scratch,
                    lvlm_error *err);

/* The MLP half of a block: acts->branch from acts->x. */
void decoder_mlp_branch(decoder_acts *acts, const decoder_block *block,
                        const decoder_config *config, const ops_scratch *scratch);

#endif
