/* kv_cache.h - keys and values of rows that were computed before.
 *
 *   self-attention    k, v (capacity,K) a block: rows [0, rows) of the text so far,
 *                     turned; a pass writes those of its own rows behind them
 *   cross-attention   those of the image, once: every later row looks at the same
 *
 * What a decoder needs besides to go on with a text: nothing. */
#ifndef LVLM_RUNTIME_TEXT_KV_CACHE_H
#define LVLM_RUNTIME_TEXT_KV_CACHE_H

#include "runtime/text/cross.h"

typedef struct kv_block {
    real *k, *v; /* (capacity,K); NULL: the block looks at the image */
} kv_block;

/* Zero it; free with kv_cache_free. */
typedef struct kv_cache {
    kv_block *blocks;  /* (layers) */
    cross_acts *cross; /* (layers) of those that look */
    size_t layers;
    size_t rows, capacity;
    size_t length; /* T of the first pass: what rotary frequencies follow from */
    bool looked;   /* those of the image are there */
} kv_cache;

/* Room for `rows` rows in all; what is there stays. is_cross (layers) */
int kv_cache_reserve(kv_cache *cache, const decoder_config *config,
                     const bool *is_cross, size_t rows, lvlm_error *err);
/* A pass over a text of `length` has written `rows` rows and, when it looked, what it
 * looked at. */
void kv_cache_add(kv_cache *cache, size_t rows, size_t length, bool looked);
void kv_cache_free(kv_cache *cache);

#endif
