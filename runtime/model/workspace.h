/* workspace.h - the activations of one part: one allocation, cut into named arrays.
 *
 *   const workspace_slot slots[] = { { &acts->x, N, C }, { &acts->q, N, Q }, ... };
 */
#ifndef LVLM_RUNTIME_MODEL_WORKSPACE_H
#define LVLM_RUNTIME_MODEL_WORKSPACE_H

#include "formats/base/error.h"
#include "runtime/real.h"

/* What of a pass stays for the way back. */
typedef enum tape_keep {
    TAPE_NOTHING, /* there is none: blocks share one set of arrays */
    TAPE_INPUTS,  /* what enters each block; all else is computed again, block by block:
                     the same values, for a third of the work more */
    TAPE_ALL,     /* everything that it reads */
} tape_keep;

typedef struct workspace_slot {
    real **at;   /* set to the array, 64-byte aligned, not zeroed */
    size_t rows; /* the array is (rows, width); none when either is 0 */
    size_t width;
} workspace_slot;

/* *block is owned: lvlm_free; NULL where all arrays are none. LVLM_ENOMEM says for what
 * (`what`) and how much. */
int workspace_allocate(void **block, const workspace_slot *slots, size_t n_slots,
                       const char *what, lvlm_error *err);
/* What a block takes; NULL: 0. */
uint64_t workspace_bytes(const void *block);

#endif
