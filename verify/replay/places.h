/* places.h - where a row of a stage is: in which text, image or video, at which token,
 * patch or query. Private to verify/.
 *
 *   stage of                 axes except the last   and what they mean
 *   text, logits             text, token
 *   vision, squares          image, patch
 *   pooled connector.out     image, row
 *   vision, grids            patch                  image or video, frame, row, column
 *   merger's connector.out   merged patch           the same, in squares of the grid
 *   vision, tiles            as its shape has them  text, image, tile, patch
 *   resampler                image, query
 *   a gradient               output row, ...
 *
 * The blocks and the connector of Qwen2.5-VL order rows by windows; "row" and "column"
 * are places on the grid nevertheless. Patch 0 of a tile is the class token, except at
 * vision.patches, before it is added. */
#ifndef LVLM_VERIFY_REPLAY_PLACES_H
#define LVLM_VERIFY_REPLAY_PLACES_H

#include "formats/base/arena.h"
#include "runtime/batch/images.h"
#include "runtime/model.h"

LVLM_BEGIN_DECLS

/* The images of a batch. */
typedef struct lvlm_places {
    lvlm_image_form form;
    lvlm_images images; /* n 0: nothing */
    size_t merge;       /* patches: side of a square */
    size_t window;      /* patches: side of a window in squares; 0: there are none */
    size_t tiles;       /* tiles: of an image */
    bool has_queries;   /* the connector is a resampler */
    bool pools;         /* it makes one row of several patches */
} lvlm_places;

enum { LVLM_PLACE_AXES = LVLM_MAX_DIMS + 3 };

/* A place in words: "image" 2, "row" 3, "column" 1. */
typedef struct lvlm_place {
    size_t n;
    struct {
        const char *axis;
        uint64_t index;
    } at[LVLM_PLACE_AXES];
} lvlm_place;

/* Read the images of `inputs`, the tensors of a batch whose names begin with `prefix`;
 * none if the model will refuse the inputs. Arrays are in `arena`. Fails without memory
 * only. */
LVLM_MUST_CHECK int lvlm_places_read(lvlm_places *out, const lvlm_model *model,
                                     const lvlm_checkpoint *inputs, const char *prefix,
                                     lvlm_arena *arena, lvlm_error *err);

/* The place of row `row` of stage `name`, which has that shape; rows are counted over
 * all axes except the last. `index` is the index along each of these axes, `meaning`
 * the place in words, or the same if there is nothing to add. */
void lvlm_place_of(lvlm_place *index, lvlm_place *meaning, const lvlm_places *places,
                   const char *name, const lvlm_shape *shape, size_t row);

LVLM_END_DECLS

#endif
