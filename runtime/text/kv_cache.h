/* kv_cache.h - keys and values of rows that were computed before.
 *
 *   self-attention    k, v (capacity,K) per block: rows [0, rows) of the text so far,
 *                     rotated; a pass appends those of its own rows
 *   cross-attention   those of the image, once: every later row attends to the same
 *
 * Nothing else is needed to continue a text. */
#ifndef LVLM_RUNTIME_TEXT_KV_CACHE_H
#define LVLM_RUNTIME_TEXT_KV_CACHE_H

#include "runtime/block/transformer.h"

typedef struct kv_block {
    real *k, *v;
} kv_block;

/* Zero it; free with kv_cache_free. */
typedef struct kv_cache {
    kv_block *blocks; /* (n_blocks) */
    size_t n_blocks;
    size_t rows, capacity;
    size_t length;   /* T of the first pass: what rotary frequencies follow from */
    bool has_images; /* those of the image are there */
} kv_cache;

/* Room for `rows` rows in all, and in cross-attention for the image's `image_rows`;
 * what is there stays.  blocks (n_blocks) */
int kv_cache_reserve(kv_cache *cache, const transformer_config *config,
                     const transformer_block *blocks, size_t n_blocks, size_t rows,
                     size_t image_rows, lvlm_error *err);
/* A pass over a text of `length` has written `rows` rows and, where cross-attention
 * took part, those of the image. */
void kv_cache_add(kv_cache *cache, size_t rows, size_t length, bool has_images);
void kv_cache_free(kv_cache *cache);

#endif
