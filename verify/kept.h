/* kept.h - copies of stages, for comparing one computation with another. */
#ifndef LVLM_VERIFY_KEPT_H
#define LVLM_VERIFY_KEPT_H

#include "formats/tensor.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_kept_stage {
    lvlm_tensor tensor;
    void *block; /* owned: its data and its name */
} lvlm_kept_stage;

/* All zero is empty. */
typedef struct lvlm_kept {
    lvlm_kept_stage *stages; /* owned */
    size_t n;
    uint64_t n_bytes; /* of all data */
} lvlm_kept;

/* Copy a stage, which is not there yet. */
LVLM_MUST_CHECK int lvlm_kept_add(lvlm_kept *kept, const lvlm_tensor *stage,
                                  lvlm_error *err);
/* NULL: not there. */
const lvlm_tensor *lvlm_kept_find(const lvlm_kept *kept, const char *name);
void lvlm_kept_free(lvlm_kept *kept);

LVLM_END_DECLS

#endif
