/* workspace.c - allocations cut into aligned arrays; see workspace.h. */
#include "runtime/block/workspace.h"

#include <assert.h>
#include <inttypes.h>

#include "formats/base/alloc.h"
#include "formats/base/size.h"

enum { ALIGN = 64 };

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

/* In front of the first array. */
typedef struct header {
    void *next;
} header;

int workspace_take(workspace *w, const workspace_slot *slots, size_t n_slots,
                   const char *what, lvlm_error *err)
{
    uint64_t total, bytes = 0;
    assert(what != NULL);
    TRY(total_bytes(&total, slots, n_slots, what, err));
    w->bytes += total;
    if (w->counts || total == 0) return 0;
    header *const head = lvlm_malloc(total);
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
    for (void *next; w->blocks != NULL; w->blocks = next) {
        next = ((header *)w->blocks)->next;
        lvlm_free(w->blocks);
    }
    lvlm_arena_free(&w->lists);
    w->bytes = 0;
}
