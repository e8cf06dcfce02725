/* checkpoint_parts.h - what the sources of checkpoint.h share. Private to formats/. */
#ifndef LVLM_FORMATS_CHECKPOINT_CHECKPOINT_PARTS_H
#define LVLM_FORMATS_CHECKPOINT_CHECKPOINT_PARTS_H

#include "formats/checkpoint/checkpoint.h"

LVLM_BEGIN_DECLS

/* ---- checkpoint_directory.c ---- */

/* Open the Hugging Face directory at cp->path. */
int checkpoint_open_directory(lvlm_checkpoint *cp, lvlm_error *err);
/* If config.json shows that the model is not supported, report that instead of `rc`. */
int checkpoint_judge_config(const lvlm_checkpoint *cp, int rc, lvlm_error *err);
/* Does a file of that name hold weights? It is never kept as a side file then. */
bool checkpoint_holds_weights(const char *name);

LVLM_END_DECLS

#endif
