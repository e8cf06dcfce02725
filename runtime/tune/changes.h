/* changes.h - what a run has changed: compares a native file with the one that it was
 * trained from, by the digests of their tensors. */
#ifndef LVLM_RUNTIME_TUNE_CHANGES_H
#define LVLM_RUNTIME_TUNE_CHANGES_H

#include "runtime/model.h"

LVLM_BEGIN_DECLS

enum { LVLM_N_CHANGE_PARTS = 4 };

/* Tensors of one part. */
typedef struct lvlm_part_changes {
    const char *part; /* "vision", "connector", "text", "rest": side files, ... */
    size_t changed;   /* trained, and their values differ now */
    size_t same;      /* trained, but their values are the same */
    size_t frozen;    /* and unchanged */
    size_t broken;    /* frozen, but changed */
} lvlm_part_changes;

typedef struct lvlm_changes {
    lvlm_part_changes parts[LVLM_N_CHANGE_PARTS];
    const char *broken; /* the first frozen tensor that changed, or NULL */
    const char **same;  /* (n_same) trained tensors that did not change; owned */
    size_t n_same;
} lvlm_changes;

/* Compare `after` with the file that `trained` was opened from. 0 also if something is
 * broken. Names are borrowed from `trained`. Free with lvlm_changes_free, also after a
 * failure. */
LVLM_MUST_CHECK int lvlm_changes_find(lvlm_changes *out, lvlm_model *trained,
                                      const char *after, lvlm_error *err);
void lvlm_changes_free(lvlm_changes *changes);

LVLM_END_DECLS

#endif
