/* tiles.h - the tower of Llama 3.2-Vision: images cut into up to four tiles.
 *
 *   e[t,p] = W patch + tanh(g_pre) pre[id,t]              G = grid^2 patches a tile
 *   e[t]   = [class, e[t,0..G)]                           P = G + 1 rows
 *   e[t]   = LN_pre (e[t] + (1 - tanh(g)) positions + tanh(g) tables[id,t])
 *   all tiles of an image end to end, each padded with zeros to L, a multiple of 8
 *   local blocks (transformer.h); some of the states between them are kept
 *   x      = LN_post x + tanh(g_post) post[id,t]
 *   global blocks, gated
 *   out    = [x, kept states], interleaved: feature d of state k at C + d * K + k
 *
 * Padding and the rows of tiles that are not there are dead: only pairs of dead rows do
 * not attend to each other. Live rows of an image come first, so that a row attends
 * to a range; stages are emitted in the order of the reference. */
#ifndef LVLM_RUNTIME_VISION_TILES_H
#define LVLM_RUNTIME_VISION_TILES_H

#include "runtime/vision/tower.h"

enum { MAX_TAPS = 64, ROWS_MULTIPLE = 8 };

/* Which hidden state is tapped for a block: as in training, and in two versions of the
 * reference. */
typedef enum tap_rule { TAP_ENTERING, TAP_LEAVING, TAP_LAST } tap_rule;

typedef struct tiles {
    vision_tower base;
    size_t image, tiles;
    size_t P, L;              /* rows of a tile, and with its padding */
    size_t taps[MAX_TAPS], K; /* blocks whose states are kept */
    tap_rule rule;
    weight_vector class_row;                 /* (C) */
    weight_vector gate, pre_gate, post_gate; /* (1) before tanh */
    weight_vector positions;                 /* (P,C) */
    weight_matrix tables;                    /* (ids,tiles,P,C) */
    weight_vector pre, post;                 /* (ids,tiles,C) */
    norm_layer norm_pre, norm_post;          /* (C) */
} tiles;

/* Rows of all images, S = tiles * L of each. */
typedef struct tiles_layout {
    size_t *from;    /* (R) which row of the reference is here */
    size_t *lo, *hi; /* (R) */
    size_t R, S;
} tiles_layout;

/* Memory of one pass. */
typedef struct tiles_tape {
    transformer_tape blocks; /* local blocks, then global ones */
    real *table;             /* (P,C) one tile's */
    real *before;            /* (images*tiles*P,C) before norm_pre; kept passes */
    real *between;           /* (R,C) before norm_post; kept passes */
    real *spare;             /* (R,C) */
} tiles_tape;

/* Which vector of a table with one per aspect id and tile belongs to a tile of the
 * batch; id 0 is an image that is not there. */
size_t tiles_place(const tiles *tower, const lvlm_images *images, size_t tile);

/* Row r of the layout in tiles without padding, (images*tiles*P); SIZE_MAX: it is
 * padding. */
static inline size_t tiles_row(const tiles *t, const tiles_layout *layout, size_t r)
{
    const size_t tile = layout->from[r] / t->L, row = layout->from[r] % t->L;
    return row < t->P ? tile * t->P + row : SIZE_MAX;
}

/* x (R,C) entering the first block. */
int tiles_embed(const tiles *tower, tiles_tape *tape, real *x,
                const tiles_layout *layout, const lvlm_images *images, stages *s,
                const ops_scratch *scratch, lvlm_error *err);
/* From dx (R,C) to the weights' gradients. `de`, `dbefore` (images*tiles*P,C) */
int tiles_embed_backward(const tiles *tower, const tiles_tape *tape, const real *dx,
                         real *de, real *dbefore, const tiles_layout *layout,
                         const lvlm_images *images, const ops_scratch *scratch,
                         lvlm_error *err);

#endif
