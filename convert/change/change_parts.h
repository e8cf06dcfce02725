/* change_parts.h - what the sources of change.h share. Private to change/. */
#ifndef LVLM_CONVERT_CHANGE_CHANGE_PARTS_H
#define LVLM_CONVERT_CHANGE_CHANGE_PARTS_H

#include "convert/change/change.h"

LVLM_BEGIN_DECLS

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

LVLM_END_DECLS

#endif
