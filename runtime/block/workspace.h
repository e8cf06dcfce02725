/* workspace.h - all memory of a pass through one part: arrays of values, and lists.
 *
 *   const workspace_slot slots[] = { { &acts->x, N, C }, { &acts->q, N, Q }, ... };
 *   workspace_take(memory, slots, 2, "attention", err)
 */
#ifndef LVLM_RUNTIME_BLOCK_WORKSPACE_H
#define LVLM_RUNTIME_BLOCK_WORKSPACE_H

#include <stdbool.h>

#include "formats/base/arena.h"
#include "runtime/real.h"

/* What a pass keeps for backward. */
typedef enum tape_keep {
    TAPE_NOTHING, /* no backward: blocks share one set of arrays */
    TAPE_INPUTS,  /* the input of each block; the others are computed again, block by
                     block: the same values, for a third more work */
    TAPE_ALL,     /* everything that backward reads */
} tape_keep;

typedef struct workspace_slot {
    real **at;   /* set to the array, 64-byte aligned, not zeroed */
    size_t rows; /* the array is (rows, width); none when either is 0 */
    size_t width;
} workspace_slot;

/* Memory that is kept from pass to pass: fresh pages of the system cost 0.2 to 0.4 s a
 * GB. Allocations are stacked in one region, which is as large as the passes before
 * needed at once; what does not fit is allocated by itself. Zero it; free with
 * workspace_pool_free once all workspaces are. Not for several threads at once. */
typedef struct workspace_pool {
    void *region; /* owned */
    uint64_t size, used;
    uint64_t beside;           /* bytes in use outside of the region */
    uint64_t highest;          /* of used + beside */
    struct workspace_bed *top; /* the last allocation in the region */
} workspace_pool;

/* Zero it but for `pool` and `counts`; free with workspace_free. With `counts` only
 * lists are allocated: arrays are NULL, and `bytes` is what they would take. */
typedef struct workspace {
    workspace_pool *pool;         /* NULL: memory of its own. Borrowed */
    struct workspace_bed *blocks; /* owned, linked */
    uint64_t bytes;               /* of arrays */
    lvlm_arena lists; /* of rows, and the structs that the arrays are named in: small */
    bool counts;
} workspace;

/* One allocation, cut into arrays. LVLM_ENOMEM says for what (`what`) and how much. */
int workspace_take(workspace *memory, const workspace_slot *slots, size_t n_slots,
                   const char *what, lvlm_error *err);
/* The same for one array. */
int workspace_array(real **at, workspace *memory, size_t rows, size_t width,
                    const char *what, lvlm_error *err);
void workspace_free(workspace *memory);
void workspace_pool_free(workspace_pool *pool);

#endif
