/* decoder.h - the language model: one decoder, driven by its configuration.
 *
 *   x = drop(scale * E[id])  or a row of the connector
 *   L blocks (transformer.h), some of which attend to the image in place of the text
 *   out = norm x
 *
 * Rows are packed (packing.h): N rows, C = hidden. Logits and loss: head.h. */
#ifndef LVLM_RUNTIME_TEXT_DECODER_H
#define LVLM_RUNTIME_TEXT_DECODER_H

#include "runtime/batch/cross_view.h"
#include "runtime/batch/packing.h"
#include "runtime/batch/positions.h"
#include "runtime/block/noise.h"
#include "runtime/block/stages.h"
#include "runtime/block/transformer.h"
#include "runtime/text/cross.h"
#include "runtime/text/kv_cache.h"

#define DECODER_BLOCKS "text.blocks." /* before names of weights and stages */

/* Rotary frequencies: theta^(-2j/head_dim), and what is done to them. */
typedef struct decoder_rope {
    double theta;
    bool llama3; /* scaled (ops/rope.h) */
    double factor, low, high, original;
    bool dynamic_ntk;    /* theta grows where a text is longer than train_length */
    bool logn;           /* queries grow there with the logarithm of their position;
                            both only in evaluation */
    size_t train_length; /* 0: neither */
    size_t sections[3];  /* pairs of a head that rotate by time, row, column */
    size_t axes;         /* 1, or 3 */
    lvlm_position_rules positions; /* 3 axes only */
} decoder_rope;

typedef struct decoder_config {
    transformer_config block;
    size_t layers;
    size_t embed_rows; /* of the table of word vectors */
    int64_t pad;       /* its row gets no gradient from lookups; -1: there is none */
    decoder_rope rope;
    size_t sliding_window;   /* of blocks that have one; 0: none, or not in force */
    bool window_cuts_prefix; /* as early versions of the reference do */
    int64_t first_position;  /* of column 0 */
    size_t max_positions;    /* that the model was trained on; computed beyond them */
    double embed_scale;      /* of words ... */
    bool scales_images; /* ... and of image rows, as versions of the reference do */
    bool nudge;         /* what enters block 0 is moved by its last bit (model.h) */
    bool causal; /* rows attend to those before; else the prefix to all of itself */
    lvlm_prefix_rules prefix;
    bool attends_unseeing; /* rows without an image attend to all of them anyway, as
                              versions of the reference do */
} decoder_config;

typedef struct decoder {
    decoder_config config;
    weight_matrix embed;       /* (embed_rows,C) */
    transformer_block *blocks; /* (layers), owned */
    norm_layer norm;           /* (C) */
    size_t first; /* the first block with anything that is trained; layers: none has */
    const weights *releases; /* whose pages a forward releases block by block; NULL: it
                                does not. Borrowed */
} decoder;

/* One pass through the decoder: shared tables, the activations of its blocks, its
 * output. A tape that keeps anything trains: what is done past train_length only in
 * evaluation is left out. */
typedef struct decoder_tape {
    const lvlm_packing *packing; /* borrowed */
    size_t N;
    const size_t *wanted; /* (n_wanted) rows of normed, increasing; NULL: all */
    size_t n_wanted;      /* N when all are */
    size_t narrows; /* the block after whose attention only those are computed; the
                       number of blocks: after the last norm */
    transformer_tape blocks;
    kv_cache *cache;       /* borrowed, and empty before the pass; NULL: none */
    cross_keys keys;       /* what blocks with cross-attention attend to */
    real *cosines, *sines; /* (N,head_dim/2) */
    real *logn;            /* (N) factors of queries; NULL: all are 1 */
    const noise *noise;    /* borrowed; NULL: nothing is dropped */
    uint64_t *rows;        /* (N) noise_row of each row; with noise only */
    real *normed;          /* (n_wanted,C) the last norm's output; before, (N,C) */
    real *spare;          /* (B*T,C) rows with padding between, when there is padding */
    workspace_pool *pool; /* of the tape's memory, and of backward's */
} decoder_tape;

typedef struct decoder_tape_options {
    const lvlm_cross_view
        *cross_view; /* of cross-attention; NULL: such blocks are left out */
    kv_cache *cache; /* NULL: none; else empty, with room for the rows of one text */
    tape_keep keep;
    bool to_images; /* gradients reach the image rows */
    const size_t
        *wanted; /* (n_wanted) rows of normed, increasing; NULL: all. Borrowed */
    size_t n_wanted;
    const stages *stages; /* that will leave; NULL: none */
    const noise *noise;   /* what training drops; NULL: nothing. Borrowed */
} decoder_tape_options;

/* Read the configuration; the family's differences that are in force under `reference`
 * decide about windows, positions and cross-attention. Free with decoder_free, also
 * after a failure. */
int decoder_open(decoder *text, const lvlm_manifest *manifest, const char *reference,
                 lvlm_error *err);
int decoder_bind(decoder *text, weights *w, lvlm_error *err);
void decoder_free(decoder *text);

void decoder_announce(const decoder *text, stages *s);

/* The tape of one pass (decoder_tape.c), in `memory`. */
int decoder_tape_make(decoder_tape *tape, workspace *memory, const decoder *text,
                      const lvlm_packing *packing, const decoder_tape_options *options,
                      lvlm_error *err);

/* From ids and connector rows to tape->normed, the final norm's output of the rows that
 * are wanted. Rows of the text that are image rows take theirs. Stops early when no
 * stage is left to compute. With a cache all rows are in it afterwards.
 * image_rows (n,C), NULL without images */
int decoder_forward(const decoder *text, decoder_tape *tape, const real *image_rows,
                    const lvlm_cross_view *cross_view, stages *s,
                    const ops_scratch *scratch, lvlm_error *err);
/* From the gradient of tape->normed, dnormed like it, to those of the
 * weights and, with to_images, dimage_rows += (n,C); else that is NULL. Each layer is a
 * hidden stage. */
int decoder_backward(const decoder *text, decoder_tape *tape, const real *dnormed,
                     real *dimage_rows, const lvlm_cross_view *cross_view, stages *s,
                     const ops_scratch *scratch, lvlm_error *err);

/* ---- rows after a text (decoder_step.c) ------------------------------------------ */

/* A token that continues a text. */
typedef struct decoder_row {
    int64_t id, positions[3];
    const kv_cache *cache; /* of its text; with room for it */
    size_t row;            /* its number in there, after those that it attends to */
    size_t window_lo;      /* the first that it attends to where a window slides */
} decoder_row;

/* The memory of a step. */
typedef struct decoder_steps {
    size_t most; /* rows */
    transformer_tape blocks;
    transformer_row *rows; /* (most) */
    real *cosines, *sines; /* (most,head_dim/2) */
    real *logn, *sees;     /* (most) */
    real *normed;          /* (most,C) the last norm's output */
} decoder_steps;

/* For up to `most` rows, at most LINEAR_ALIKE, in `memory`. */
int decoder_steps_make(decoder_steps *steps, workspace *memory, const decoder *text,
                       size_t most, lvlm_error *err);

/* From N rows, of one text or several, to steps->normed. Rows of one text are in order
 * and attend to those before them too; those of texts with images come first. Each row
 * has the results that it has by itself. Keys and values are in the caches afterwards,
 * whose number of rows is the caller's. */
int decoder_step(const decoder *text, decoder_steps *steps, const decoder_row *rows,
                 size_t N, const ops_scratch *scratch, lvlm_error *err);
/* Elements of its scratch, where `keys` are the most that a row attends to. */
size_t decoder_step_scratch(const decoder *text, size_t most, size_t keys,
                            size_t n_threads);

/* cosines and sines (N,head_dim/2) of positions (axes,N) in a text of length T, and
 * logn (N), factors of queries, unless that is NULL (decoder_rotary.c). Beyond
 * train_length only evaluation differs. */
int decoder_rotary(real *cosines, real *sines, real *logn, const int64_t *positions,
                   size_t N, size_t T, const decoder_config *config, bool evaluates,
                   lvlm_error *err);

#endif
