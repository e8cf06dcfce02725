/* kv_cache.h - keys and values of rows that were computed before, and how they are
 * stored: as `real`, or rounded to bf16.
 *
 *   self-attention    k, v (capacity,K) per block: rows [0, rows) of the text so far,
 *                     rotated; more rows are appended, and the last ones forgotten
 *   cross-attention   those of the image, once: every later row attends to the same
 *
 * Nothing else is needed to continue a text. */
#ifndef LVLM_RUNTIME_TEXT_KV_CACHE_H
#define LVLM_RUNTIME_TEXT_KV_CACHE_H

#include "runtime/batch/cross_view.h"
#include "runtime/block/transformer.h"

/* Zero it but for `dtype`; free with kv_cache_free. */
typedef struct kv_cache {
    lvlm_dtype dtype;          /* LVLM_REAL_DTYPE or LVLM_BF16 */
    transformer_cache *blocks; /* (n_blocks) */
    size_t n_blocks;
    size_t rows, capacity;
    size_t length;     /* T of the text's pass: what rotary frequencies follow from */
    bool has_images;   /* cross-attention takes part: */
    size_t image_rows; /* rows of the image ... */
    size_t image_lo, image_hi; /* ... of which later rows attend to [lo, hi) */
    bool sees;                 /* as in cross_view.h, likewise */
} kv_cache;

/* Room for `rows` rows in all, and in cross-attention for the image's `image_rows`;
 * what is there stays.  blocks (n_blocks) */
int kv_cache_reserve(kv_cache *cache, const transformer_config *config,
                     const transformer_block *blocks, size_t n_blocks, size_t rows,
                     size_t image_rows, lvlm_error *err);
/* A pass over a whole text has written its rows and, with a cross view, those of the
 * image: later rows attend to what the last one does. */
void kv_cache_fill(kv_cache *cache, const lvlm_packing *text,
                   const lvlm_cross_view *cross_view);
/* The memory of a cache. */
uint64_t kv_cache_bytes(const kv_cache *cache, const transformer_config *config,
                        const transformer_block *blocks);
void kv_cache_free(kv_cache *cache);

#endif
