/* kv_cache.c - keys and values of earlier rows; see kv_cache.h. */
#include "runtime/text/kv_cache.h"

#include <assert.h>

#include "formats/base/alloc.h"

static bool grow(void **x, size_t rows, size_t bytes)
{
    void *const grown = lvlm_realloc(*x, rows, bytes);
    if (grown != NULL) *x = grown;
    return grown != NULL;
}

/* Of keys, or of values. */
static size_t row_bytes(const kv_cache *cache, const transformer_config *c)
{
    return c->kv_heads * c->head_dim * lvlm_dtype_bytes(cache->dtype);
}

int kv_cache_reserve(kv_cache *cache, const transformer_config *c,
                     const transformer_block *blocks, size_t n_blocks, size_t rows,
                     size_t image_rows, lvlm_error *err)
{
    const size_t row = row_bytes(cache, c);
    assert(cache->blocks == NULL || cache->n_blocks == n_blocks);
    if (cache->blocks == NULL) {
        cache->blocks = lvlm_calloc(n_blocks, sizeof *cache->blocks);
        if (cache->blocks == NULL) return lvlm_fail_memory(err);
        cache->n_blocks = n_blocks;
    }
    if (rows <= cache->capacity) return 0;
    for (size_t i = 0; i < n_blocks; i++) {
        transformer_cache *const b = &cache->blocks[i];
        const size_t room = blocks[i].is_cross ? image_rows : rows;
        if (room == 0 || (blocks[i].is_cross && b->v != NULL)) continue;
        FAIL_IF(!grow(&b->k, room, row) || !grow(&b->v, room, row), err, LVLM_ENOMEM,
                "out of memory for the keys and values of %zu tokens", rows);
        b->dtype = cache->dtype;
    }
    cache->capacity = rows;
    return 0;
}

void kv_cache_fill(kv_cache *cache, const lvlm_packing *text,
                   const lvlm_cross_view *cross_view)
{
    assert(cache->rows == 0 && text->N > 0 && text->N <= cache->capacity);
    cache->rows = text->N;
    cache->length = text->T;
    cache->has_images = cross_view != NULL;
    if (cross_view == NULL) return;
    cache->image_rows = cross_view->n_keys;
    cache->image_lo = cross_view->lo[text->N - 1];
    cache->image_hi = cross_view->hi[text->N - 1];
    cache->sees = cross_view->sees[text->N - 1];
}

uint64_t kv_cache_bytes(const kv_cache *cache, const transformer_config *c,
                        const transformer_block *blocks)
{
    uint64_t rows = 0;
    for (size_t i = 0; i < cache->n_blocks; i++)
        if (cache->blocks[i].k != NULL)
            rows += blocks[i].is_cross ? cache->image_rows : cache->capacity;
    return 2 * rows * row_bytes(cache, c);
}

void kv_cache_free(kv_cache *cache)
{
    for (size_t i = 0; cache->blocks != NULL && i < cache->n_blocks; i++) {
        lvlm_free(cache->blocks[i].k);
        lvlm_free(cache->blocks[i].v);
    }
    lvlm_free(cache->blocks);
    *cache = (kv_cache){ 0 };
}
