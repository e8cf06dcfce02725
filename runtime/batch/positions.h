/* positions.h - positions on three axes for texts with images: time, row, column.
 *
 * Text counts up on all three axes together. An image that starts at position p gives
 * the row at (f, y, x) of its grid (image_rows.h) the position (p + time of f, p + y,
 * p + x); text continues after the largest position of the grid (Qwen2-VL,
 * get_rope_index). */
#ifndef LVLM_RUNTIME_BATCH_POSITIONS_H
#define LVLM_RUNTIME_BATCH_POSITIONS_H

#include "runtime/batch/packing.h"

LVLM_BEGIN_DECLS

/* Positions are below it: rotary angles are products in float, which holds every whole
 * number up to here. */
enum { LVLM_MAX_POSITIONS = 1 << 24 };

typedef struct lvlm_position_rules {
    double tokens_per_second; /* of videos; 0: a frame is one step */
    bool in_double;           /* times are products in double, else in float */
    /* differences of versions of the reference (DIFFERENCES.md); none: as trained */
    bool image_time_scaled;
    bool collapsed;
    bool overlaps;
    bool truncated;
} lvlm_position_rules;

/* Set packing->positions (3,N) for texts with images. Without any, or where
 * the batch brings positions, they stay as they are. LVLM_EFORMAT when a run of image
 * tokens does not fit its grid, or a position would be too large. */
LVLM_MUST_CHECK int lvlm_positions_grids(lvlm_packing *packing,
                                         const lvlm_inputs *inputs,
                                         const lvlm_input_spec *spec,
                                         const lvlm_position_rules *rules,
                                         lvlm_error *err);

LVLM_END_DECLS

#endif
