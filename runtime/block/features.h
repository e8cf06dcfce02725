/* features.h - what a vision tower computes from all images of a batch, and a connector
 * takes. */
#ifndef LVLM_RUNTIME_BLOCK_FEATURES_H
#define LVLM_RUNTIME_BLOCK_FEATURES_H

#include "runtime/batch/images.h"
#include "runtime/block/noise.h"
#include "runtime/block/stages.h"

/* Rows image by image and frame by frame: class rows, then patches in squares of
 * group x group, the squares of a frame row by row, and so the patches of a square.
 * With group 1 patches are row by row. */
typedef struct features {
    size_t R, C;      /* rows and their width */
    lvlm_shape shape; /* of a stage of such rows, without C: [N, P], [R], ... */
    size_t n_images;
    const lvlm_grid *grids; /* (n_images) of patches */
    size_t class_rows;      /* of each frame */
    size_t group;
    size_t P;           /* rows of an image, where all have the same number; or 0 */
    size_t block_rows;  /* of the tower's blocks, with all class rows and padding ... */
    const void *layout; /* ... and where those are, for the tower */
    const size_t *order; /* (R/group^2) square g here is square order[g] in the order
                            above; NULL: the same */
    const noise *noise;  /* what training drops; NULL: nothing. Borrowed */
    real *rows;          /* (R,C) */
} features;

/* Emit a stage of f->R rows.  data (f->R,C) */
int features_emit(stages *s, const char *name, real *data, const features *f, size_t C,
                  lvlm_error *err);

/* Which row of `f` is number k when squares are side x side and in the order of the
 * images.  *out (R), in `arena`. There are no class rows, and `side` divides the
 * grids. */
int features_squares(size_t **out, const features *f, size_t side, lvlm_arena *arena,
                     lvlm_error *err);

#endif
