/* workspace.h - the activations of one part: one allocation, cut into named arrays.
 *
 *   const workspace_slot slots[] = { { &acts->x, N, C }, { &acts->q, N, Q }, ... };
 */
#ifndef LVLM_RUNTIME_MODEL_WORKSPACE_H
#define LVLM_RUNTIME_MODEL_WORKSPACE_H

#include "formats/base/error.h"
#include "runtime/real.h"

typedef struct workspace_slot {
    real **at;   /* set to the array, 64-byte aligned, not zeroed */
    size_t rows; /* the array is (rows, width); none when either is 0 */
    size_t width;
} workspace_slot;

/* *block is owned: lvlm_free. LVLM_ENOMEM says for what (`what`) and how much. */
int workspace_allocate(void **block, const workspace_slot *slots, size_t n_slots,
                       const char *what, lvlm_error *err);

#endif
