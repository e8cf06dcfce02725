/* workspace.c - allocations cut into aligned arrays; see workspace.h. */
#include "runtime/block/workspace.h"

#include <assert.h>
#include <inttypes.h>

#include "formats/base/alloc.h"
#include "formats/base/size.h"

enum { ALIGN = 64 }; /* and a multiple of what structs need */

/* Larger than any machine, far from wrapping around. */
#define MAX_BYTES (UINT64_C(1) << 47)

static bool slot_bytes(uint64_t *out, const workspace_slot *slot)
{
    uint64_t bytes = 0;
    if (!lvlm_mul_u64(&bytes, slot->rows, slot->width) ||
        !lvlm_mul_u64(&bytes, bytes, sizeof(real)) || bytes > MAX_BYTES)
        return false;
    *out = lvlm_round_up(bytes, ALIGN);
    return true;
}

static int total_bytes(uint64_t *total, const workspace_slot *slots, size_t n_slots,
                       const char *what, lvlm_error *err)
{
    uint64_t bytes = 0;
    *total = 0;
    for (size_t i = 0; i < n_slots; i++) {
        FAIL_IF(!slot_bytes(&bytes, &slots[i]), err, LVLM_ENOMEM,
                "%s: an array of %zu x %zu is too large", what, slots[i].rows,
                slots[i].width);
        *slots[i].at = NULL;
        *total += bytes;
    }
    if (*total > 0) *total += 2 * ALIGN;
    return 0;
}

/* ---- allocations ----------------------------------------------------------------- */

/* In front of the first array of an allocation. */
typedef struct workspace_bed {
    struct workspace_bed *next;  /* of the same workspace */
    struct workspace_bed *below; /* in the region of the pool */
    workspace_pool *pool;
    uint64_t bytes;
    bool stacked, left; /* in the region; and not used any more */
} bed;

/* A region for what passes need, once nothing is in use; false: out of memory. */
static bool grow(workspace_pool *pool)
{
    if (pool->used + pool->beside > 0 || pool->highest <= pool->size) return true;
    lvlm_free(pool->region);
    pool->region = lvlm_malloc(pool->highest);
    pool->size = pool->region != NULL ? pool->highest : 0;
    return pool->region != NULL;
}

/* NULL: it does not fit. */
static bed *stack_up(workspace_pool *pool, uint64_t bytes)
{
    if (bytes > pool->size - pool->used) return NULL;
    bed *const b = (bed *)(void *)((char *)pool->region + pool->used);
    *b = (bed){ .below = pool->top, .stacked = true };
    pool->top = b;
    pool->used += bytes;
    return b;
}

/* NULL: out of memory. */
static bed *make_bed(workspace_pool *pool, uint64_t bytes)
{
    if (pool != NULL && !grow(pool)) return NULL;
    bed *b = pool != NULL ? stack_up(pool, bytes) : NULL;
    if (b == NULL) {
        b = lvlm_malloc(bytes);
        if (b == NULL) return NULL;
        *b = (bed){ .stacked = false };
        if (pool != NULL) pool->beside += bytes;
    }
    b->pool = pool;
    b->bytes = bytes;
    if (pool != NULL && pool->used + pool->beside > pool->highest)
        pool->highest = pool->used + pool->beside;
    return b;
}

static void leave(bed *b)
{
    workspace_pool *const pool = b->pool;
    if (!b->stacked) {
        if (pool != NULL) pool->beside -= b->bytes;
        lvlm_free(b);
        return;
    }
    b->left = true;
    for (; pool->top != NULL && pool->top->left; pool->top = pool->top->below)
        pool->used -= pool->top->bytes;
}

void workspace_pool_free(workspace_pool *pool)
{
    assert(pool->used == 0 && pool->beside == 0);
    lvlm_free(pool->region);
    *pool = (workspace_pool){ .region = NULL };
}

/* ---- arrays ---------------------------------------------------------------------- */

int workspace_take(workspace *w, const workspace_slot *slots, size_t n_slots,
                   const char *what, lvlm_error *err)
{
    uint64_t total, bytes = 0;
    assert(what != NULL);
    TRY(total_bytes(&total, slots, n_slots, what, err));
    w->bytes += total;
    if (w->counts || total == 0) return 0;
    bed *const head = make_bed(w->pool, total);
    FAIL_IF(head == NULL, err, LVLM_ENOMEM, "%s: out of memory for %" PRIu64 " bytes",
            what, total);
    head->next = w->blocks;
    w->blocks = head;
    unsigned char *at = (unsigned char *)(head + 1);
    at += (ALIGN - (uintptr_t)at % ALIGN) % ALIGN;
    assert((uintptr_t)at % ALIGN == 0);
    for (size_t i = 0; i < n_slots; i++) {
        (void)slot_bytes(&bytes, &slots[i]); /* succeeded above */
        if (bytes != 0) *slots[i].at = (real *)(void *)at;
        at += bytes;
        assert((uint64_t)(at - (unsigned char *)head) <= total);
    }
    return 0;
}

int workspace_array(real **at, workspace *w, size_t rows, size_t width,
                    const char *what, lvlm_error *err)
{
    const workspace_slot slot = { at, rows, width };
    return workspace_take(w, &slot, 1, what, err);
}

void workspace_free(workspace *w)
{
    for (bed *next; w->blocks != NULL; w->blocks = next) {
        next = w->blocks->next;
        leave(w->blocks);
    }
    lvlm_arena_free(&w->lists);
    w->bytes = 0;
}
