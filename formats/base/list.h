/* list.h - growing arrays: reserve room before each append. */
#ifndef LVLM_FORMATS_BASE_LIST_H
#define LVLM_FORMATS_BASE_LIST_H

#include "formats/base/alloc.h"

#include "formats/base/error.h"
#include <assert.h>
#include <stdint.h>

LVLM_BEGIN_DECLS

/* Make room for element number `n` and those before it in the array at `*at`, which has
 * room for `*capacity` elements of `bytes` bytes. Grows by half, which limits the
 * memory needed while a long list is copied. */
static inline int lvlm_list_room(void *at, size_t *capacity, size_t n, size_t bytes,
                                 lvlm_error *err)
{
    assert(bytes > 0 && n < SIZE_MAX / 2);
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
