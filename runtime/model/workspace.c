/* workspace.c - one allocation, cut into aligned arrays; see workspace.h. */
#include "runtime/model/workspace.h"

#include <inttypes.h>
#include <string.h>

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

/* The size stands in front of the first array. */
int workspace_allocate(void **block, const workspace_slot *slots, size_t n_slots,
                       const char *what, lvlm_error *err)
{
    uint64_t total = 0, bytes = 0;
    for (size_t i = 0; i < n_slots; i++) {
        FAIL_IF(!slot_bytes(&bytes, &slots[i]), err, LVLM_ENOMEM,
                "%s: an array of %zu x %zu is too large", what, slots[i].rows,
                slots[i].width);
        *slots[i].at = NULL;
        total += bytes;
    }
    *block = NULL;
    if (total == 0) return 0;
    total += 2 * ALIGN;
    *block = lvlm_malloc(total);
    FAIL_IF(*block == NULL, err, LVLM_ENOMEM, "%s: out of memory for %" PRIu64 " bytes",
            what, total);
    memcpy(*block, &total, sizeof total);
    unsigned char *at = (unsigned char *)*block + sizeof total;
    at += (ALIGN - (uintptr_t)at % ALIGN) % ALIGN;
    for (size_t i = 0; i < n_slots; i++) {
        (void)slot_bytes(&bytes, &slots[i]); /* succeeded above */
        *slots[i].at = bytes != 0 ? (real *)(void *)at : NULL;
        at += bytes;
    }
    return 0;
}

uint64_t workspace_bytes(const void *block)
{
    uint64_t total = 0;
    if (block != NULL) memcpy(&total, block, sizeof total);
    return total;
}
