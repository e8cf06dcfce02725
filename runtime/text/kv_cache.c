/* kv_cache.c - keys and values of earlier rows; see kv_cache.h. */
#include "runtime/text/kv_cache.h"

#include <assert.h>

#include "formats/base/alloc.h"

static bool grow(real **x, size_t rows, size_t K)
{
    real *const grown = lvlm_realloc(*x, rows, K * sizeof **x);
    if (grown != NULL) *x = grown;
    return grown != NULL;
}

int kv_cache_reserve(kv_cache *cache, const transformer_config *c,
                     const transformer_block *blocks, size_t n_blocks, size_t rows,
                     size_t image_rows, lvlm_error *err)
{
    const size_t K = c->kv_heads * c->head_dim;
    assert(cache->blocks == NULL || cache->n_blocks == n_blocks);
    if (cache->blocks == NULL) {
        cache->blocks = lvlm_calloc(n_blocks, sizeof *cache->blocks);
        if (cache->blocks == NULL) return lvlm_fail_memory(err);
        cache->n_blocks = n_blocks;
    }
    if (rows <= cache->capacity) return 0;
    for (size_t i = 0; i < n_blocks; i++) {
        kv_block *const b = &cache->blocks[i];
        const size_t room = blocks[i].is_cross ? image_rows : rows;
        if (room == 0 || (blocks[i].is_cross && b->v != NULL)) continue;
        FAIL_IF(!grow(&b->k, room, K) || !grow(&b->v, room, K), err, LVLM_ENOMEM,
                "out of memory for the keys and values of %zu tokens", rows);
    }
    cache->capacity = rows;
    return 0;
}

void kv_cache_add(kv_cache *cache, size_t rows, size_t length, bool has_images)
{
    assert(cache->rows + rows <= cache->capacity);
    if (cache->rows == 0) cache->length = length;
    cache->rows += rows;
    cache->has_images = has_images;
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
