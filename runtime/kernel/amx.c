/* amx.c - the kernel for AMX tiles.
 *
 * A process asks the system for tiles once, a thread configures them before its first
 * block and releases them after its last: a thread that holds tiles is switched more
 * slowly. */
#include "runtime/kernel/kernel.h"

#if LVLM_COMPILES_AMX && LVLM_COMPILES_AVX512_BF16
#include <immintrin.h>

#define AMX_TARGET __attribute__((target("amx-tile,amx-bf16")))
#define TILE_ZERO(t) _tile_zero(t)
#define TILE_LOAD(t, at, stride) _tile_loadd(t, at, stride)
#define TILE_DOT(sum, rows, columns) _tile_dpbf16ps(sum, rows, columns)
#define AMX_STORED() __asm__ volatile("" ::: "memory")
#define TILE_STORE(t, at, stride) _tile_stored(t, at, stride)

#include "runtime/kernel/amx_block.h"

/* Palette 1, and for each of eight tiles 16 rows of 64 bytes. */
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

AMX_TARGET static void begin(void)
{
    tile_config config = { .palette = 1 };
    for (size_t t = 0; t < 8; t++) config.row_bytes[t] = 64, config.rows[t] = 16;
    _tile_loadconfig(&config);
}

AMX_TARGET static void end(void)
{
    _tile_release();
    lvlm_end_avx512();
}

/* Operands are in memory by now: the compiler does not know that tiles read it. */
AMX_TARGET static void multiply(float *sums, const lvlm_block *b)
{
    __asm__ volatile("" ::: "memory");
    amx_multiply(sums, b);
    __asm__ volatile("" ::: "memory");
}

const lvlm_kernel lvlm_amx_terms = {
    multiply, AMX_ROWS, AMX_PANELS, lvlm_turn_avx512, lvlm_pour_avx512, begin, end,
};

#endif
