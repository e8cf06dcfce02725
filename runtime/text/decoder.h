/* decoder.h - the language model: one decoder, driven by its configuration.
 *
 *   x = scale * E[id]  or a row of the connector
 *   L times:
 *     x += [post_attn_norm] Wo attention(rope(Wq n), rope(Wk n), Wv n),  n = norm1 x
 *     x += [post_mlp_norm] Wdown (act(Wgate n) * Wup n),                 n = norm2 x
 *   out = norm x
 *
 * Norms are RMS norms whose weights are used as norm_offset + w; the ones in brackets
 * exist when `sandwich`. Rows are packed (packing.h): N rows, C = hidden, Q = heads *
 * head_dim, K = kv_heads * head_dim, F = mlp, V = vocab. Logits and loss: head.h. */
#ifndef LVLM_RUNTIME_TEXT_DECODER_H
#define LVLM_RUNTIME_TEXT_DECODER_H

#include "runtime/model/stages.h"
#include "runtime/model/weights.h"
#include "runtime/ops/activation.h"

typedef struct decoder_config {
    size_t hidden, layers, heads, kv_heads, head_dim, mlp, vocab;
    double norm_eps;
    int64_t norm_offset; /* 1: Gemma; 0 elsewhere */
    double rope_theta;
    double query_scalar;     /* attention scale is its -1/2th power */
    double attn_softcap;     /* 0: none */
    size_t sliding_window;   /* in even blocks; 0: none, or not in force */
    bool window_cuts_prefix; /* as early versions of the reference do */
    int64_t first_position;  /* of column 0 */
    double embed_scale;
    bool sandwich; /* norms behind attention and MLP too */
    lvlm_activation activation;
} decoder_config;

typedef struct decoder_block {
    const real *norm1;          /* (C) before attention */
    lvlm_stored q_w;            /* (Q,C) */
    lvlm_stored k_w, v_w;       /* (K,C) */
    lvlm_stored out_w;          /* (C,Q) */
    const real *post_attn_norm; /* (C) sandwich only */
    const real *norm2;          /* (C) before the MLP */
    lvlm_stored gate_w, up_w;   /* (F,C) */
    lvlm_stored down_w;         /* (C,F) */
    const real *post_mlp_norm;  /* (C) sandwich only */
} decoder_block;

typedef struct decoder {
    decoder_config config;
    lvlm_stored embed;     /* (V,C) */
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
    real *spare;  /* (B*T,C) rows with padding between, when there is padding */
    void *memory; /* owned: all of the above */
} decoder_acts;

/* Read the configuration; a sliding window counts when a difference of the family,
 * "sliding_window" or "sliding_window_prefix", is in force under `reference`. Free
 * with decoder_free, also after a failure. */
int decoder_open(decoder *text, const lvlm_manifest *manifest, const char *reference,
                 lvlm_error *err);
int decoder_bind(decoder *text, weights *w, lvlm_error *err);
void decoder_free(decoder *text);

/* Elements of ops_scratch that a forward over N rows needs. */
size_t decoder_scratch(const decoder *text, size_t N, size_t n_threads);
void decoder_announce(const decoder *text, stages *s);

/* Free with decoder_acts_free, also after a failure. */
int decoder_acts_make(decoder_acts *acts, const decoder *text,
                      const lvlm_packing *packing, lvlm_error *err);
void decoder_acts_free(decoder_acts *acts);

/* From ids and connector rows to acts->normed, the final norm's output. Stops early
 * when no stage is left to compute.  image_rows (n,C), NULL without images */
int decoder_forward(const decoder *text, decoder_acts *acts,
                    const lvlm_packing *packing, const real *image_rows, stages *s,
                    const ops_scratch *scratch, lvlm_error *err);

/* Block i: acts->x from its input to its output; acts->cosines and sines are filled. */
void decoder_block_forward(decoder_acts *acts, const decoder *text, size_t i,
                           const lvlm_packing *packing, const ops_scratch *scratch);

#endif
