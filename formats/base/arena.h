/* arena.h - memory for many small objects that are freed at once. Not for tensors.
 * Distinct arenas may be used from distinct threads. */
#ifndef LVLM_FORMATS_BASE_ARENA_H
#define LVLM_FORMATS_BASE_ARENA_H

#include <stddef.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_arena {
    struct lvlm_arena_block *head; /* newest block first */
} lvlm_arena;

// clang-format off
#define LVLM_ARENA_INIT { NULL }
// clang-format on

/* `bytes` zeroed bytes aligned for any type, or NULL. They are freed together by
 * lvlm_arena_free. */
void *lvlm_arena_alloc(lvlm_arena *arena, size_t count, size_t bytes);
char *lvlm_arena_strndup(lvlm_arena *arena, const char *text, size_t length);
char *lvlm_arena_printf(lvlm_arena *arena, const char *fmt, ...) LVLM_PRINTF(2, 3);
/* Make room in `list` for one more than its `n` elements of `bytes` bytes. Returns
 * `list` or a larger copy to use instead; *capacity is the number of elements that fit.
 * NULL: out of memory; `list` is unchanged. */
void *lvlm_arena_room(lvlm_arena *arena, void *list, size_t n, size_t *capacity,
                      size_t bytes);
void lvlm_arena_free(lvlm_arena *arena);

LVLM_END_DECLS

#endif
