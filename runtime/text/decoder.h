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
#include "runtime/model/workspace.h"
#include "runtime/sight.h"
#include "runtime/text/block.h"
#include "runtime/text/cross.h"
#include "runtime/text/kv_cache.h"

#define DECODER_BLOCKS "text.blocks." /* in front of names of weights and stages */

typedef struct decoder {
    decoder_config config;
    weight_matrix embed;   /* (embed_rows,C) */
    bool *is_cross;        /* (layers), owned: looks at the image */
    decoder_block *blocks; /* (layers), owned */
    norm_layer norm;       /* (C) */
    size_t first; /* the first block with anything that is trained; layers: none has */
} decoder;

/* One pass through the decoder: shared tables, the activations of its blocks, and what
 * comes out. With a way back the model trains: what it does past its train_length in
 * evaluation alone is left out. */
typedef struct decoder_tape {
    decoder_pass pass;
    kv_cache *cache; /* borrowed; NULL: none */
    tape_keep keep;
    size_t first;            /* the block where the way back ends; layers without one */
    decoder_acts shared;     /* of blocks that keep nothing; TAPE_INPUTS: of every block
                                in its turn, whole */
    cross_acts shared_cross; /* likewise; with a cache its own count */
    decoder_acts *blocks;    /* (layers) TAPE_ALL: of blocks from `first` on */
    cross_acts *cross;       /* (layers) of those among them that look */
    real *inputs;            /* (layers-first,N,C) TAPE_INPUTS */
    size_t held;             /* TAPE_INPUTS: the block that `shared` is of */
    cross_keys keys;         /* what they look at */
    real *last;              /* (n_wanted,C) leaving the last block; before, (N,C) */
    real *normed;            /* likewise: the last norm's output */
    real *spare;  /* (B*T,C) rows with padding between, when there is padding */
    void *memory; /* owned: tables, inputs, last, normed, spare */
    size_t n_blocks;
} decoder_tape;

typedef struct decoder_tape_options {
    const lvlm_sight
        *sight;      /* some blocks look at image rows; NULL: they are left out */
    kv_cache *cache; /* NULL: none; else with room for the rows */
    tape_keep keep;
    bool to_images; /* the way back goes on to the image rows */
    const size_t
        *wanted; /* (n_wanted) rows of normed, increasing; NULL: all. Borrowed */
    size_t n_wanted;
    const stages *stages; /* that will leave; NULL: none */
} decoder_tape_options;

/* Read the configuration; the family's differences that are in force under `reference`
 * decide about windows, positions and cross-attention. Free with decoder_free, also
 * after a failure. */
int decoder_open(decoder *text, const lvlm_manifest *manifest, const char *reference,
                 lvlm_error *err);
int decoder_bind(decoder *text, weights *w, lvlm_error *err);
void decoder_free(decoder *text);

/* Elements of ops_scratch that a pass over N rows needs, with n_keys rows of the image
 * and blocks of queries that see up to `span` of these or those (attention_span). */
size_t decoder_scratch(const decoder *text, size_t N, size_t n_keys, size_t span,
                       size_t n_threads);
void decoder_announce(const decoder *text, stages *s);

/* Memory for one pass (decoder_tape.c). With a cache rows see those of earlier passes
 * too: lo and hi of the packing count from the first of those, and of the image nothing
 * but the first pass needs more than its sight. Free with decoder_tape_free, also after
 * a failure. */
int decoder_tape_make(decoder_tape *tape, const decoder *text,
                      const lvlm_packing *packing, const decoder_tape_options *options,
                      lvlm_error *err);
void decoder_tape_free(decoder_tape *tape);
uint64_t decoder_tape_bytes(const decoder_tape *tape);

/* From ids and connector rows to tape->normed, the final norm's output of the rows that
 * are wanted. Rows of the text that are image rows take theirs. Stops early when no
 * stage is left to compute. With a cache all rows are in it afterwards, and the tape is
 * ready for as many more.
 * image_rows (n,C), NULL without images */
int decoder_forward(const decoder *text, decoder_tape *tape, const real *image_rows,
                    const lvlm_sight *sight, stages *s, const ops_scratch *scratch,
                    lvlm_error *err);
/* The way back: from the gradient of tape->normed, dnormed like it, to those of the
 * weights and, with to_images, dimage_rows += (n,C); else that is NULL. Each layer is a
 * hidden stage. */
int decoder_backward(const decoder *text, decoder_tape *tape, const real *dnormed,
                     real *dimage_rows, const lvlm_sight *sight, stages *s,
                     const ops_scratch *scratch, lvlm_error *err);

#endif
