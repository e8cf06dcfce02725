/* change_parts.h - what the sources of change.h share. Private to change/. */
#ifndef LVLM_CONVERT_CHANGE_CHANGE_PARTS_H
#define LVLM_CONVERT_CHANGE_CHANGE_PARTS_H

#include "convert/change/change.h"

LVLM_BEGIN_DECLS

/* ---- change_config.c ---- */

/* Edit config.json and the files of the picture's processor; set `config`, `files`,
 * `rows` and `pixels`. */
LVLM_MUST_CHECK int change_config(lvlm_change *change, lvlm_error *err);

/* A number of a canonical configuration; 0: there is none. */
uint64_t change_count(const cJSON *config, const char *path);

/* ---- change_part.c ---- */

/* Open the source of a part and check that its tensors and settings are those that the
 * model has. */
LVLM_MUST_CHECK int change_part_open(lvlm_change *change, lvlm_change_part *part,
                                     const char *path, lvlm_error *err);
void change_part_close(lvlm_change_part *part);

/* The part that a native tensor belongs to, if that is exchanged; else NULL. */
lvlm_change_part *change_part_of(lvlm_change *change, const char *name);

/* ---- change_words.c ---- */

/* Has the native tensor of that name one row for each word? */
bool change_is_words(const char *name);
/* Does a table of that many rows cut off a token? LVLM_EFORMAT names the file or the
 * setting that needs more. */
LVLM_MUST_CHECK int change_check_words(const lvlm_change *change, uint64_t rows,
                                       lvlm_error *err);
/* The lvlm_write of a step whose tensor has the first rows of inputs[0]; `user` is not
 * used. */
LVLM_MUST_CHECK int change_cut_write(void *user, const lvlm_step *step, lvlm_sink *sink,
                                     lvlm_error *err);

/* ---- change_positions.c ---- */

/* Sides of the squares of positions: before and after. */
typedef struct change_grid {
    uint64_t from, to;
} change_grid;

/* The lvlm_write of a step that interpolates inputs[0] (..., C + from x from, W) to
 * (..., C + to x to, W): the C rows before the square, of a class row, are kept;
 * bicubic, a = -0.75, corners not aligned, indices clamped to the border, without
 * antialiasing even when shrinking, as torch's interpolate(mode="bicubic",
 * align_corners=False); in double, rounded once. `grid` is a change_grid. */
LVLM_MUST_CHECK int change_positions_write(void *grid, const lvlm_step *step,
                                           lvlm_sink *sink, lvlm_error *err);

LVLM_END_DECLS

#endif
