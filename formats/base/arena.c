/* arena.c - blocks of growing size, filled from the front. */
#include "formats/base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"

enum { FIRST_BLOCK = 4096, LARGEST_BLOCK = 1 << 20 };

struct lvlm_arena_block {
    struct lvlm_arena_block *next;
    size_t used;
    size_t capacity;
    alignas(max_align_t) unsigned char bytes[];
};

/* A block with room for `bytes`, twice the last one's size up to a limit. */
static struct lvlm_arena_block *grow(lvlm_arena *arena, size_t bytes)
{
    size_t capacity = arena->head != NULL ? 2 * arena->head->capacity : FIRST_BLOCK;
    if (capacity > LARGEST_BLOCK) capacity = LARGEST_BLOCK;
    if (capacity < bytes) capacity = bytes;
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
    const size_t step = alignof(max_align_t);
    if (bytes > 0 && count > (SIZE_MAX - step) / bytes) return NULL;
    const size_t need = (count * bytes + step - 1) / step * step;
    struct lvlm_arena_block *block = arena->head;
    if (block == NULL || block->capacity - block->used < need)
        block = grow(arena, need);
    if (block == NULL) return NULL;
    void *at = block->bytes + block->used;
    block->used += need;
    return at;
}

char *lvlm_arena_strndup(lvlm_arena *arena, const char *text, size_t length)
{
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
