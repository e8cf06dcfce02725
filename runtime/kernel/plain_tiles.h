/* plain_tiles.h - the operations of amx_block.h in plain C, so that its logic can
 * be tested on any processor. */
#ifndef LVLM_RUNTIME_KERNEL_PLAIN_TILES_H
#define LVLM_RUNTIME_KERNEL_PLAIN_TILES_H

#include <string.h>

#include "formats/container/numeric.h"

typedef struct plain_tile {
    unsigned char rows[16][64];
} plain_tile;

static _Thread_local plain_tile plain_tiles[8];

static inline void plain_tile_load(int t, const char *at, size_t stride)
{
    for (size_t r = 0; r < 16; r++) memcpy(plain_tiles[t].rows[r], at + r * stride, 64);
}

static inline void plain_tile_store(int t, float *at, size_t stride)
{
    for (size_t r = 0; r < 16; r++)
        memcpy((char *)at + r * stride, plain_tiles[t].rows[r], 64);
}

static inline void plain_tile_dot(int sum, int left, int right)
{
    for (size_t r = 0; r < 16; r++)
        for (size_t k = 0; k < 16; k++)
            for (size_t c = 0; c < 16; c++) {
                uint16_t a[2], b[2];
                float s;
                memcpy(a, &plain_tiles[left].rows[r][4 * k], sizeof a);
                memcpy(b, &plain_tiles[right].rows[k][4 * c], sizeof b);
                memcpy(&s, &plain_tiles[sum].rows[r][4 * c], sizeof s);
                s += lvlm_f32_of_bf16(a[0]) * lvlm_f32_of_bf16(b[0]);
                s += lvlm_f32_of_bf16(a[1]) * lvlm_f32_of_bf16(b[1]);
                memcpy(&plain_tiles[sum].rows[r][4 * c], &s, sizeof s);
            }
}

#define AMX_TARGET
#define AMX_STORED() ((void)0)
#define TILE_ZERO(t) memset(&plain_tiles[t], 0, sizeof plain_tiles[t])
#define TILE_LOAD(t, at, stride) plain_tile_load(t, at, stride)
#define TILE_DOT(sum, rows, columns) plain_tile_dot(sum, rows, columns)
#define TILE_STORE(t, at, stride) plain_tile_store(t, at, stride)

#endif
