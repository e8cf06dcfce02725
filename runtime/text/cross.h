/* cross.h - the block that looks at the image: gated cross-attention (Llama
 * 3.2-Vision).
 *
 *   q = q_norm(Wq n) per head, n = norm1 x; k = k_norm(Wk z) per head; v = Wv z
 *   x += tanh(attn_gate) Wo attention(q, k, v)     no rotary positions, no causal mask
 *   x += tanh(mlp_gate) r MLP(norm2 x)             r: 1 where the row sees anything
 *
 * z are the connector's rows of the tiles that anybody sees (sight.h): n_keys of
 * them. */
#ifndef LVLM_RUNTIME_TEXT_CROSS_H
#define LVLM_RUNTIME_TEXT_CROSS_H

#include "runtime/sight.h"
#include "runtime/text/block.h"

/* What all such blocks of one pass look at. */
typedef struct cross_keys {
    const lvlm_sight *sight;
    size_t *from;  /* (n_keys) which row of the connector */
    real *states;  /* (n_keys,C) */
    real *dstates; /* (n_keys,C) their gradient, from all blocks; kept passes only */
    real *dk, *dv, *draw; /* (n_keys,K) on the way back; kept passes only */
    real *sees;           /* (N) 1 or 0 */
    void *memory;         /* owned: all of the above */
} cross_keys;

/* Activations of one such block, besides decoder_acts; shared or kept like those. */
typedef struct cross_acts {
    real *raw_k, *k, *v; /* (n_keys,K) raw: before k_norm */
    void *memory;
} cross_acts;

/* Free with cross_keys_free, cross_acts_free, also after a failure. */
int cross_keys_make(cross_keys *keys, const decoder_config *config,
                    const lvlm_sight *sight, size_t N, bool keep, lvlm_error *err);
/* The same for rows that look with keys and values that are there already. */
int cross_keys_again(cross_keys *keys, const lvlm_sight *sight, size_t N,
                     lvlm_error *err);
void cross_keys_free(cross_keys *keys);
int cross_acts_make(cross_acts *cross, const decoder_config *config,
                    const cross_keys *keys, bool keep, lvlm_error *err);
void cross_acts_free(cross_acts *cross);

/* A block's keys and values of what is looked at. */
void cross_keys_forward(cross_acts *cross, const decoder_block *block,
                        const decoder_config *config, const cross_keys *keys,
                        const ops_scratch *scratch);

/* One block, as in block.h, behind cross_keys_forward. Backward adds to
 * keys->dstates. */
void cross_block_forward(decoder_acts *acts, const cross_acts *cross,
                         const decoder_block *block, const decoder_config *config,
                         const cross_keys *keys, size_t N, const ops_scratch *scratch);
void cross_block_backward(decoder_grads *grads, const decoder_acts *acts,
                          const cross_acts *cross, const decoder_block *block,
                          const decoder_config *config, const cross_keys *keys,
                          size_t N, const ops_scratch *scratch);

#endif
