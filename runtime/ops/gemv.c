/* gemv.c - rows of a stored matrix times 1 to 8 vectors, read once for all.
 *
 *   w        O rows in STREAMS pieces, read in parallel: a step is one row of each
 *              [ piece 0 | piece 1 | ... ]
 *                ->        ->
 *   x        packed: LANES elements of the first vector, of the second, ... of the
 *            last of `width`, which is 1, 4 or 8; then the next LANES of each
 *   a step   block by block: x stays in cache, the next block of w is fetched
 *   a tile   rows of w times all vectors; sums in registers, and elements of w are
 *            widened once
 *
 * Several sequential streams, each fetched ahead, hide memory latency. Whatever the
 * width, a sum has one order: partial sums by lanes, which are added up at the end. A
 * product is fused with its sum (CMakeLists.txt) where the processor can. */
#include <assert.h>
#include <string.h>
#if defined __x86_64__ && LVLM_REAL_BITS == 32
#include <immintrin.h>
#endif

#include "formats/base/size.h"
#include "formats/container/numeric.h"
#include "runtime/ops/gemv.h"
#include "runtime/ops/vmath.h"

enum {
    LANES = 16, /* partial sums of a row, added up at the end */
    STREAMS = 8,
    FEW = 4, /* vectors; more than that are computed as MOST */
    MOST = GEMV_MOST_VECTORS,
    BLOCK = 1024,             /* bytes of a row before the next rows */
    PART = 64 / sizeof(real), /* lanes of a register, at most */
    PARTS = LANES / PART,     /* of all lanes */
};

#define UNROLL _Pragma("GCC unroll 16")

/* LANES values. Compilers make of it whatever registers there are; loops in place of
 * these expressions are not always vectorised. */
#define VECTOR(type) type __attribute__((vector_size(LANES * sizeof(type))))
typedef VECTOR(uint16_t) lanes_u16;
typedef VECTOR(int16_t) lanes_i16;
typedef VECTOR(uint32_t) lanes_u32;
typedef VECTOR(int32_t) lanes_i32;
typedef VECTOR(float) lanes_f32;
typedef VECTOR(double) lanes_f64;
typedef real lanes __attribute__((vector_size(PART * sizeof(real))));
typedef lanes packed_lanes __attribute__((aligned(sizeof(real)), may_alias));

/* As lvlm_f32_of_bf16 and lvlm_f32_of_f16_fast. */
#define F32_OF_BF16(x) ((lanes_f32)(__builtin_convertvector(x, lanes_u32) << 16))
#define F32_OF_F16(x)                                                                  \
    ((lanes_f32)((lanes_u32)((lanes_f32)((lanes_u32)(__builtin_convertvector(          \
                                                         (lanes_i16)(x), lanes_i32)    \
                                                     << 13) &                          \
                                         0x8fffe000u) *                                \
                             0x1p112f) |                                               \
                 ((lanes_u32)((__builtin_convertvector(x, lanes_u32) & 0x7c00u) ==     \
                              0x7c00u) &                                               \
                  0x7f800000u)))
#define AS_IS(x) (x)
#define ANYWHERE(x) ((void)(x))

/* F32_OF_BF16 in one instruction, where the processor has it: compilers take five. */
#if defined __x86_64__ && LVLM_REAL_BITS == 32
#define AVX512 __attribute__((target("avx512f,avx512bw")))
/* Compilers would load x again for each row of w. */
#define IN_REGISTER(x) __asm__("" : "+v"(x))

static inline AVX512 lanes_f32 bf16_avx512(__m256i x)
{
    const __m512i at =
        _mm512_set_epi16(15, 0, 14, 0, 13, 0, 12, 0, 11, 0, 10, 0, 9, 0, 8, 0, 7, 0, 6,
                         0, 5, 0, 4, 0, 3, 0, 2, 0, 1, 0, 0, 0);
    return (lanes_f32)_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, at,
                                                     _mm512_castsi256_si512(x));
}
#endif

static size_t width_of(size_t N)
{
    if (N == 1) return 1;
    return N <= FEW ? FEW : MOST;
}

/* Rows of w in a tile. */
static size_t tile_rows(size_t width)
{
    return width == 1 ? STREAMS : 16 / width;
}

size_t gemv_packed_numel(size_t I)
{
    return MOST * lvlm_round_up(I, LANES);
}

void gemv_pack(real *packed, const real *x, size_t N, size_t I)
{
    const size_t width = width_of(N);
    assert(N >= 1 && N <= GEMV_MOST_VECTORS);
    memset(packed, 0, width * lvlm_round_up(I, LANES) * sizeof *packed);
    for (size_t n = 0; n < N; n++) {
        const real *const row = x + n * I;
        size_t i = 0;
        for (; i + LANES <= I; i += LANES)
            memcpy(packed + i * width + n * LANES, row + i, LANES * sizeof *x);
        memcpy(packed + i * width + n * LANES, row + i, (I - i) * sizeof *x);
    }
}

/* `clones`: for which instruction sets. `keep`: where an element of x waits for all
 * rows.
 * name: sums (ROWS,width,LANES) += ROWS rows of w times `width` vectors, over n
 * elements, a multiple of LANES.  x packed  w (ROWS) */
#define TILE(name, clones, ROWS, width, type, loaded, widen, keep)                     \
    clones static void name(real *sums, const real *x, const type *const *w, size_t n) \
    {                                                                                  \
        lanes s[ROWS][width][PARTS];                                                   \
        packed_lanes *const kept = (packed_lanes *)sums;                               \
        UNROLL for (size_t k = 0; k < ROWS; k++)                                       \
            UNROLL for (size_t r = 0; r < width; r++)                                  \
                UNROLL for (size_t h = 0; h < PARTS; h++) s[k][r][h] =                 \
                    kept[(k * width + r) * PARTS + h];                                 \
        for (size_t i = 0; i < n; i += LANES) {                                        \
            lanes a[ROWS][PARTS];                                                      \
            UNROLL for (size_t k = 0; k < ROWS; k++)                                   \
            {                                                                          \
                loaded stored;                                                         \
                memcpy(&stored, w[k] + i, sizeof stored);                              \
                const VECTOR(real) wide =                                              \
                    __builtin_convertvector(widen(stored), VECTOR(real));              \
                memcpy(a[k], &wide, sizeof wide);                                      \
                LVLM_PREFETCH((const char *)(w[k] + i) + BLOCK);                       \
            }                                                                          \
            const packed_lanes *const b = (const packed_lanes *)(x + i * width);       \
            UNROLL for (size_t r = 0; r < width; r++)                                  \
                UNROLL for (size_t h = 0; h < PARTS; h++)                              \
            {                                                                          \
                lanes value = b[r * PARTS + h];                                        \
                keep(value);                                                           \
                UNROLL for (size_t k = 0; k < ROWS; k++) s[k][r][h] +=                 \
                    value * a[k][h];                                                   \
            }                                                                          \
        }                                                                              \
        UNROLL for (size_t k = 0; k < ROWS; k++)                                       \
            UNROLL for (size_t r = 0; r < width; r++)                                  \
                UNROLL for (size_t h = 0; h < PARTS; h++)                              \
                    kept[(k * width + r) * PARTS + h] = s[k][r][h];                    \
    }

/* totals[i] = the sum of sums[i] for i < n: its quarters, then what is left of them. */
static void add_lanes(real *totals, real (*sums)[LANES], size_t n)
{
    typedef real quarter __attribute__((vector_size(LANES / 4 * sizeof(real))));
    for (size_t i = 0; i < n; i++) {
        quarter q[4];
        memcpy(q, sums[i], sizeof q);
        const quarter s = (q[0] + q[1]) + (q[2] + q[3]);
        totals[i] = (s[0] + s[1]) + (s[2] + s[3]);
    }
}

/* name(width): the tile of that width. */
#define TILES(name, clones, type, loaded, widen, keep)                                 \
    TILE(name##_one, clones, 8, 1, type, loaded, widen, keep)                          \
    TILE(name##_few, clones, 4, FEW, type, loaded, widen, keep)                        \
    TILE(name##_most, clones, 2, MOST, type, loaded, widen, keep)                      \
    static void (*name(size_t width))(real *, const real *, const type *const *,       \
                                      size_t)                                          \
    {                                                                                  \
        return width == 1 ? name##_one : width == FEW ? name##_few : name##_most;      \
    }

/* tile_for(width): the tile of that width.
 * name: y[r * ldy + k * apart] = the row k * apart of w, times vector r, for k < n and
 * r < N.  x packed  w (n*apart,I) */
#define ROWS_OF(name, type, tile_for, widen)                                           \
    static void name(real *y, size_t ldy, const real *x, const type *w, size_t N,      \
                     size_t I, size_t apart, size_t n)                                 \
    {                                                                                  \
        _Alignas(64) real sums[STREAMS * MOST][LANES];                                 \
        real totals[STREAMS * MOST];                                                   \
        const size_t whole = I / LANES * LANES, width = width_of(N);                   \
        void (*const tile)(real *, const real *, const type *const *, size_t) =        \
            tile_for(width);                                                           \
        memset(sums, 0, STREAMS *width * sizeof *sums);                                \
        for (size_t i = 0; i < whole; i += BLOCK / sizeof *w)                          \
            for (size_t k = 0; k < n; k += tile_rows(width)) {                         \
                const type *at[STREAMS]; /* past the last row: it again, unused */     \
                for (size_t j = 0; j < tile_rows(width); j++)                          \
                    at[j] = w + min_size(k + j, n - 1) * apart * I + i;                \
                tile(sums[k * width], x + i * width, at,                               \
                     min_size(BLOCK / sizeof *w, whole - i));                          \
            }                                                                          \
        for (size_t k = 0; k < n && whole < I; k++)                                    \
            for (size_t r = 0; r < N; r++)                                             \
                for (size_t i = whole; i < I; i++)                                     \
                    sums[k * width + r][i - whole] +=                                  \
                        x[whole * width + r * LANES + i - whole] *                     \
                        widen(w[k * apart * I + i]);                                   \
        add_lanes(totals, sums, STREAMS *width);                                       \
        for (size_t k = 0; k < n; k++)                                                 \
            for (size_t r = 0; r < N; r++)                                             \
                y[r * ldy + k * apart] = totals[k * width + r];                        \
    }

TILES(tile_bf16, LVLM_SIMD_CLONES, uint16_t, lanes_u16, F32_OF_BF16, ANYWHERE)
TILES(tile_f16, LVLM_SIMD_CLONES, uint16_t, lanes_u16, F32_OF_F16, ANYWHERE)
TILES(tile_f32, LVLM_SIMD_CLONES, float, lanes_f32, AS_IS, ANYWHERE)
TILES(tile_f64, LVLM_SIMD_CLONES, double, lanes_f64, AS_IS, ANYWHERE)
#ifdef AVX512
TILES(tile_bf16_avx512, AVX512, uint16_t, __m256i, bf16_avx512, IN_REGISTER)
#define TILE_BF16(width)                                                               \
    (__builtin_cpu_supports("avx512bw") ? tile_bf16_avx512 : tile_bf16)(width)
#else
#define TILE_BF16(width) tile_bf16(width)
#endif

ROWS_OF(rows_bf16, uint16_t, TILE_BF16, (real)lvlm_f32_of_bf16)
ROWS_OF(rows_f16, uint16_t, tile_f16, (real)lvlm_f32_of_f16_fast)
ROWS_OF(rows_f32, float, tile_f32, (real))
ROWS_OF(rows_f64, double, tile_f64, (real))

static void rows(real *y, size_t ldy, const real *x, lvlm_stored w, size_t N, size_t I,
                 size_t apart, size_t n)
{
    assert(n > 0 && n <= STREAMS);
    switch (w.dtype) {
    case LVLM_BF16: rows_bf16(y, ldy, x, w.data, N, I, apart, n); break;
    case LVLM_F16: rows_f16(y, ldy, x, w.data, N, I, apart, n); break;
    case LVLM_F32: rows_f32(y, ldy, x, w.data, N, I, apart, n); break;
    case LVLM_F64: rows_f64(y, ldy, x, w.data, N, I, apart, n); break;
    default: assert(0 && "not a dtype of weights");
    }
}

void gemv_forward(real *y, size_t ldy, const real *packed, size_t N, lvlm_stored w,
                  const real *b, size_t O, size_t I)
{
    const size_t apart = (O + STREAMS - 1) / STREAMS;
    assert(w.data != NULL && N >= 1 && N <= GEMV_MOST_VECTORS);
    for (size_t o = 0; o < apart && o < O; o++) /* the last piece may be shorter */
        rows(y + o, ldy, packed, stored_at(w, o * I), N, I, apart,
             (O - o + apart - 1) / apart);
    for (size_t n = 0; b != NULL && n < N; n++)
        for (size_t o = 0; o < O; o++) y[n * ldy + o] += b[o];
}
