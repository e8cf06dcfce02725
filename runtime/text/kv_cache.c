/* kv_cache.c - keys and values of earlier rows; see kv_cache.h. */
#include "runtime/text/kv_cache.h"

#include "formats/base/alloc.h"

static int make_blocks(kv_cache *cache, const decoder_config *c, lvlm_error *err)
{
    cache->blocks = lvlm_calloc(c->layers, sizeof *cache->blocks);
    cache->cross = lvlm_calloc(c->layers, sizeof *cache->cross);
    if (cache->blocks == NULL || cache->cross == NULL) return lvlm_fail_memory(err);
    cache->layers = c->layers;
    return 0;
}

static bool grow(real **x, size_t rows, size_t K)
{
    real *const grown = lvlm_realloc(*x, rows, K * sizeof **x);
    if (grown != NULL) *x = grown;
    return grown != NULL;
}

int kv_cache_reserve(kv_cache *cache, const decoder_config *c, const bool *is_cross,
                     size_t rows, lvlm_error *err)
{
    const size_t K = c->kv_heads * c->head_dim;
    if (cache->layers == 0) TRY(make_blocks(cache, c, err));
    if (rows <= cache->capacity) return 0;
    for (size_t i = 0; i < cache->layers; i++) {
        kv_block *const b = &cache->blocks[i];
        if (is_cross[i]) continue;
        FAIL_IF(!grow(&b->k, rows, K) || !grow(&b->v, rows, K), err, LVLM_ENOMEM,
                "out of memory for the keys and values of %zu tokens", rows);
    }
    cache->capacity = rows;
    return 0;
}

void kv_cache_add(kv_cache *cache, size_t rows, size_t length, bool looked)
{
    if (cache->rows == 0) cache->length = length;
    cache->rows += rows;
    cache->looked = looked;
}

void kv_cache_free(kv_cache *cache)
{
    for (size_t i = 0; cache->blocks != NULL && i < cache->layers; i++) {
        lvlm_free(cache->blocks[i].k);
        lvlm_free(cache->blocks[i].v);
        cross_acts_free(&cache->cross[i]);
    }
    lvlm_free(cache->blocks);
    lvlm_free(cache->cross);
    *cache = (kv_cache){ 0 };
}
