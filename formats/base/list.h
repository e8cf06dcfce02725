/* list.h - arrays that grow: whoever appends makes the room first, so that none can be
 * too short. */
#ifndef LVLM_FORMATS_BASE_LIST_H
#define LVLM_FORMATS_BASE_LIST_H

#include "formats/base/alloc.h"
#include "formats/base/error.h"

LVLM_BEGIN_DECLS

/* Room for element number `n` of the array at `*at`, which has `*capacity` elements of
 * `bytes` bytes. Grows by half: a long list is not held twice for long. */
static inline int lvlm_list_room(void *at, size_t *capacity, size_t n, size_t bytes,
                                 lvlm_error *err)
{
    if (n < *capacity) return 0;
    const size_t room = n + n / 2 + 16;
    void *const grown = lvlm_realloc(*(void **)at, room, bytes);
    if (grown == NULL) return lvlm_fail_memory(err);
    *(void **)at = grown;
    *capacity = room;
    return 0;
}

LVLM_END_DECLS

#endif
