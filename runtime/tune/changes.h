/* changes.h - what a run has changed: a native file against the one it came from, by
 * the digests of their tensors. */
#ifndef LVLM_RUNTIME_TUNE_CHANGES_H
#define LVLM_RUNTIME_TUNE_CHANGES_H

#include "runtime/model.h"

LVLM_BEGIN_DECLS

enum { LVLM_N_CHANGE_PARTS = 4 };

/* Tensors of one part. */
typedef struct lvlm_part_changes {
    const char *part; /* "vision", "connector", "text", "rest": side files, ... */
    size_t changed;   /* trained, and their values are others now */
    size_t same;      /* trained, and what they were all the same */
    size_t frozen;    /* and what they were */
    size_t broken;    /* frozen, and not what they were */
} lvlm_part_changes;

typedef struct lvlm_changes {
    lvlm_part_changes parts[LVLM_N_CHANGE_PARTS];
    const char *broken; /* the first frozen tensor that changed, or NULL */
    const char **same;  /* (n_same) trained tensors that did not change */
    size_t n_same;
    lvlm_arena arena;
} lvlm_changes;

/* `trained` is the model that was trained; it still has its file `before`. 0 also when
 * something is broken. Free with lvlm_changes_free, also after a failure. */
LVLM_MUST_CHECK int lvlm_changes_find(lvlm_changes *out, lvlm_model *trained,
                                      const char *after, lvlm_error *err);
void lvlm_changes_free(lvlm_changes *changes);

LVLM_END_DECLS

#endif
