/* workspace.h - the activations of one part: one allocation, cut into named arrays.
 *
 *   const workspace_slot slots[] = { { &acts->x, N, C }, { &acts->q, N, Q }, ... };
 */
#ifndef LVLM_RUNTIME_MODEL_WORKSPACE_H
#define LVLM_RUNTIME_MODEL_WORKSPACE_H

#include <stdbool.h>

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

/* All memory of a pass through one part; zero it, free with workspace_free. With
 * `counts` only lists are allocated: arrays stay NULL, and bytes is what they would
 * take. */
typedef struct workspace {
    void *blocks; /* owned, linked */
    uint64_t bytes;
    bool counts;
} workspace;

/* Arrays, as workspace_allocate has them. */
int workspace_take(workspace *memory, const workspace_slot *slots, size_t n_slots,
                   const char *what, lvlm_error *err);
/* *out = n items of `size` bytes, zeroed; lists are small and not in bytes. */
int workspace_list(workspace *memory, void **out, size_t n, size_t size,
                   lvlm_error *err);
void workspace_free(workspace *memory);

/* *block is owned: lvlm_free; NULL where all arrays are none. LVLM_ENOMEM says for what
 * (`what`) and how much. */
int workspace_allocate(void **block, const workspace_slot *slots, size_t n_slots,
                       const char *what, lvlm_error *err);
/* What a block takes; NULL: 0. */
uint64_t workspace_bytes(const void *block);

#endif
