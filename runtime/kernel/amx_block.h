/* amx_block.h - the block of tiles, over operations on tiles that are macros:
 *
 *   TILE_ZERO(t)   TILE_LOAD(t, at, stride)   TILE_DOT(sum, rows, columns)
 *   TILE_STORE(t, at, stride)   AMX_STORED(), after tiles were stored
 *   AMX_TARGET, attributes of the function
 *
 * amx.c defines them as the processor's own; without them they are plain C. A tile is
 * 16 rows of 64 bytes. TILE_DOT adds to a tile of floats the products of 16 rows of 32
 * bf16 numbers and 16 pairs of rows of 16 columns.
 *
 *   tiles 0..3 sums   4, 5 rows   6, 7 columns        32 rows x 2 panels */
#ifndef LVLM_RUNTIME_KERNEL_AMX_BLOCK_H
#define LVLM_RUNTIME_KERNEL_AMX_BLOCK_H

#include "runtime/kernel/kernel.h"

#ifndef AMX_TARGET
#include "runtime/kernel/plain_tiles.h"
#endif

enum {
    AMX_ROWS = 32,
    AMX_PANELS = 2,
    AMX_LINE = AMX_PANELS * LVLM_PANEL * (int)sizeof(float),
    AMX_TILE_ROWS = 16,
};

/* One step of a term of each side. */
AMX_TARGET static inline void amx_step(const char *left, size_t row, const char *right,
                                       size_t panel, size_t n_panels)
{
    TILE_LOAD(6, right, 64);
    TILE_LOAD(4, left, row);
    TILE_DOT(0, 4, 6);
    TILE_LOAD(5, left + AMX_TILE_ROWS * row, row);
    TILE_DOT(2, 5, 6);
    if (n_panels == 1) return;
    TILE_LOAD(7, right + panel, 64);
    TILE_DOT(1, 4, 7);
    TILE_DOT(3, 5, 7);
}

AMX_TARGET static inline void amx_store(float *sums, size_t n_panels)
{
    float *const below = sums + AMX_TILE_ROWS * AMX_PANELS * LVLM_PANEL;
    TILE_STORE(0, sums, AMX_LINE);
    TILE_STORE(2, below, AMX_LINE);
    if (n_panels == 1) return;
    TILE_STORE(1, sums + LVLM_PANEL, AMX_LINE);
    TILE_STORE(3, below + LVLM_PANEL, AMX_LINE);
}

AMX_TARGET static void amx_multiply(float *sums, const lvlm_block *b)
{
    enum { LINE = AMX_PANELS * LVLM_PANEL };
    float more[AMX_ROWS * LINE];
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    LVLM_EACH_PAIR(b, i, j)
    for (size_t s = 0; s < lvlm_steps_of(b->n_values); s++)
        amx_step(b->left.data + s * b->left.step + i * b->left.term, b->left.row,
                 b->right.data + s * b->right.step + j * LVLM_TILE, b->right.panel,
                 b->n_panels);
    amx_store(b->adds ? more : sums, b->n_panels);
    if (!b->adds) return;
    AMX_STORED(); /* the compiler does not know that tiles write it */
    for (size_t r = 0; r < AMX_ROWS; r++)
        for (size_t c = 0; c < b->n_panels * LVLM_PANEL; c++)
            sums[r * LINE + c] += more[r * LINE + c];
}

#endif
