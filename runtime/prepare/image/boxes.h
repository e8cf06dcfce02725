/* boxes.h - finds boxes in an answer and draws them.
 *
 *   PaliGemma  <loc0102><loc0204><loc0819><loc0921> cat ; <loc...  y0 x0 y1 x1, of 1024
 *   Qwen-VL    <ref>cat</ref><box>(200,100),(900,800)</box>        x0 y0 x1 y1, of 1000
 *   Qwen2-VL   <|object_ref_start|>cat<|object_ref_end|>           the same
 *              <|box_start|>(200,100),(900,800)<|box_end|>
 *
 * Not here: quadrangles, and the pixels that Qwen2.5-VL writes in JSON. */
#ifndef LVLM_RUNTIME_PREPARE_IMAGE_BOXES_H
#define LVLM_RUNTIME_PREPARE_IMAGE_BOXES_H

#include "formats/base/arena.h"
#include "runtime/prepare/image/image.h"

LVLM_BEGIN_DECLS

/* Far more than an image has; further boxes are ignored. */
enum { LVLM_MAX_BOXES = 1000 };

/* Edges as fractions of the image's width and height, 0 to 1, smaller one first. */
typedef struct lvlm_box {
    double x0, y0, x1, y1;
    const char *label; /* "" if the answer has none */
} lvlm_box;

typedef struct lvlm_boxes {
    lvlm_box *at;
    size_t n;
    lvlm_arena arena;
} lvlm_boxes;

/* All complete boxes in `text`. Free with lvlm_boxes_free, also after a failure. */
LVLM_MUST_CHECK int lvlm_boxes_find(lvlm_boxes *out, const char *text, lvlm_error *err);
void lvlm_boxes_free(lvlm_boxes *boxes);

/* Pixels of a box in an image of that size: left, top, right, bottom, all inside. */
void lvlm_box_pixels(size_t pixels[4], const lvlm_box *box, size_t width,
                     size_t height);

/* The colour of box `i`: its name, and its red, green and blue. Colours repeat after
 * LVLM_BOX_COLOURS. */
enum { LVLM_BOX_COLOURS = 8 };
const char *lvlm_box_colour(unsigned char rgb[3], size_t i);

/* Outline every box in its colour; lines are as wide as the image is large. */
void lvlm_boxes_draw(lvlm_image *image, const lvlm_boxes *boxes);

LVLM_END_DECLS

#endif
