/* cross_view.h - which rows of the connector a row of the text sees in cross-attention.
 *
 * What a row sees is a set of tiles. Rows with the same set share one run of keys, so
 * that every set is a range, and tiles that nobody sees are never projected:
 *
 *   keys   [ tiles of the first set | tiles of the second | ... ], `rows` rows a tile
 *   row n  sees keys [lo[n], hi[n]); nothing when they are equal */
#ifndef LVLM_RUNTIME_BATCH_CROSS_VIEW_H
#define LVLM_RUNTIME_BATCH_CROSS_VIEW_H

#include "runtime/batch/packing.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_cross_view {
    size_t
        *tiles; /* (n_tiles) which tile of the batch, (text * M + image) * tiles + t */
    size_t n_tiles;
    size_t n_keys;   /* n_tiles * rows */
    size_t *lo, *hi; /* (N) in keys */
    bool *sees;      /* (N) counts as seeing: its MLP branch is added */
    lvlm_arena arena;
} lvlm_cross_view;

/* The sets of a batch of images in the form of tiles. `rows`: rows of one tile.
 * `unmasked`: rows that see nothing attend to all tiles of their text, as versions
 * of the reference have it; they count as unseeing all the same. Without a mask
 * every row sees every tile of its text. Free with lvlm_cross_view_free, also after a
 * failure, which is LVLM_ENOMEM. */
LVLM_MUST_CHECK int lvlm_cross_view_make(lvlm_cross_view *out,
                                         const lvlm_packing *packing,
                                         const lvlm_images *images, size_t tiles,
                                         size_t rows, bool unmasked, lvlm_error *err);
void lvlm_cross_view_free(lvlm_cross_view *view);

LVLM_END_DECLS

#endif
