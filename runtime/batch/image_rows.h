/* image_rows.h - how many rows of the text an image becomes: what tower and connector
 * make of its patches, by the configuration. */
#ifndef LVLM_RUNTIME_BATCH_IMAGE_ROWS_H
#define LVLM_RUNTIME_BATCH_IMAGE_ROWS_H

#include "runtime/batch/images.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_image_rows {
    const char *connector; /* its word */
    size_t class_rows;     /* rows of the tower before the patches of each frame */
    size_t pool;           /* a square of pool x pool patches becomes one row */
    size_t queries;        /* rows of each frame, whatever its patches; 0: it pools */
} lvlm_image_rows;

/* For a canonical configuration, or LVLM_EFORMAT. */
LVLM_MUST_CHECK int lvlm_image_rows_read(lvlm_image_rows *out, const cJSON *config,
                                         const lvlm_image_spec *images,
                                         lvlm_error *err);

/* Where the rows of an image with this grid of patches are: frames, rows, columns.
 * Class rows are not on it. */
lvlm_grid lvlm_image_rows_grid(const lvlm_image_rows *rule, const lvlm_grid *patches);
/* Rows of one frame of such an image, class rows included. */
size_t lvlm_image_rows_frame(const lvlm_image_rows *rule, const lvlm_grid *patches);
/* Rows of one square of the tower's own side; nothing of the kind has grids: 0, unless
 * queries ask. */
size_t lvlm_image_rows_square(const lvlm_image_rows *rule, const lvlm_image_spec *spec);
/* Rows of images [first, end). */
size_t lvlm_image_rows_count(const lvlm_image_rows *rule, const lvlm_images *images,
                             size_t first, size_t end);

LVLM_END_DECLS

#endif
