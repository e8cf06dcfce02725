/* arena.c - blocks of growing size, filled from the front.
 *
 * Under the address sanitizer each request gets a block of exactly its size: otherwise
 * a write beyond its end would hit the next one undetected. */
#include "formats/base/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"

enum { FIRST_BLOCK = 4096, LARGEST_BLOCK = 1 << 20 };

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ONE_BLOCK_EACH true
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define ONE_BLOCK_EACH true
#endif
#ifndef ONE_BLOCK_EACH
#define ONE_BLOCK_EACH false
#endif

struct lvlm_arena_block {
    struct lvlm_arena_block *next;
    size_t used;
    size_t capacity;
    alignas(max_align_t) unsigned char bytes[];
};

/* The size of the block after `head`: twice as large up to a limit, or `bytes`. */
static size_t next_capacity(const struct lvlm_arena_block *head, size_t bytes)
{
    size_t capacity = head != NULL ? 2 * head->capacity : FIRST_BLOCK;
    if (capacity > LARGEST_BLOCK) capacity = LARGEST_BLOCK;
    return capacity < bytes || ONE_BLOCK_EACH ? bytes : capacity;
}

/* A new block with room for `bytes`. */
static struct lvlm_arena_block *grow(lvlm_arena *arena, size_t bytes)
{
    const size_t capacity = next_capacity(arena->head, bytes);
    if (capacity > SIZE_MAX - sizeof *arena->head) return NULL;
    struct lvlm_arena_block *block = lvlm_calloc(1, sizeof *arena->head + capacity);
    if (block == NULL) return NULL;
    block->capacity = capacity;
    block->next = arena->head;
    arena->head = block;
    return block;
}

void *lvlm_arena_alloc(lvlm_arena *arena, size_t count, size_t bytes)
{
    assert(arena != NULL);
    const size_t step = alignof(max_align_t);
    if (bytes > 0 && count > (SIZE_MAX - step) / bytes) return NULL;
    size_t need = count * bytes;
    if (!ONE_BLOCK_EACH) need = (need + step - 1) / step * step;
    struct lvlm_arena_block *block = arena->head;
    if (ONE_BLOCK_EACH || block == NULL || block->capacity - block->used < need)
        block = grow(arena, need);
    if (block == NULL) return NULL;
    void *at = block->bytes + block->used;
    block->used += need;
    return at;
}

void *lvlm_arena_room(lvlm_arena *arena, void *list, size_t n, size_t *capacity,
                      size_t bytes)
{
    assert(n <= *capacity);
    if (n < *capacity) return list;
    const size_t more = n < SIZE_MAX / 4 ? 2 * n + 4 : SIZE_MAX;
    void *const grown = lvlm_arena_alloc(arena, more, bytes);
    if (grown == NULL) return NULL;
    if (n > 0) memcpy(grown, list, n * bytes);
    *capacity = more;
    return grown;
}

char *lvlm_arena_strndup(lvlm_arena *arena, const char *text, size_t length)
{
    assert(text != NULL || length == 0);
    char *copy = length < SIZE_MAX ? lvlm_arena_alloc(arena, length + 1, 1) : NULL;
    if (copy != NULL && length > 0) memcpy(copy, text, length);
    return copy;
}

char *lvlm_arena_printf(lvlm_arena *arena, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, fmt, args);
    char *text = n < 0 ? NULL : lvlm_arena_alloc(arena, (size_t)n + 1, 1);
    if (text != NULL) vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(args);
    return text;
}

void lvlm_arena_free(lvlm_arena *arena)
{
    while (arena->head != NULL) {
        struct lvlm_arena_block *next = arena->head->next;
        lvlm_free(arena->head);
        arena->head = next;
    }
}
