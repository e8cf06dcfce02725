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

#include "runtime/text/decoder.h"

/* Activations; every such block uses the same ones. K = kv_heads * head_dim. */
typedef struct cross_acts {
    real *states; /* (n_keys,C) */
    real *k, *v;  /* (n_keys,K) */
    real *sees;   /* (N) 1 or 0 */
    void *memory; /* owned: all of the above */
} cross_acts;

/* Collect the rows of the tiles.  image_rows (tiles of the batch * rows,C). Free with
 * cross_acts_free, also after a failure. */
int cross_acts_make(cross_acts *cross, const decoder_config *config,
                    const lvlm_sight *sight, size_t N, const real *image_rows,
                    lvlm_error *err);
void cross_acts_free(cross_acts *cross);

/* One block: acts->x from its input to its output. */
void cross_block_forward(decoder_acts *acts, cross_acts *cross,
                         const decoder_block *block, const decoder_config *config,
                         const lvlm_sight *sight, const ops_scratch *scratch);

#endif
