/* gemv_several.c - rows of a stored matrix times 2 to 8 vectors, read once for all.
 *
 *   x        packed in groups of GROUP vectors: LANES elements of the first, of the
 *            second, ..., then the next LANES of each
 *   a task   STREAMS rows of w, GROUP at a time, over a block that stays in cache while
 *            all groups of x are multiplied with it
 *   a tile   GROUP rows of w times GROUP vectors; sums in registers
 *
 * Every sum has gemv.c's order: partial sums by lanes, which are added in order at the
 * end. */
#include <assert.h>
#include <string.h>

#include "formats/base/size.h"
#include "formats/container/numeric.h"
#include "runtime/ops/gemv.h"
#include "runtime/ops/vmath.h"

enum {
    LANES = GEMV_LANES,
    STREAMS = 8,
    GROUP = 4, /* divides STREAMS and GEMV_MOST_VECTORS */
    GROUPS = GEMV_MOST_VECTORS / GROUP,
    BLOCK = 512,              /* bytes of a row before the next rows */
    AHEAD = 512,              /* prefetch distance in bytes */
    PART = 64 / sizeof(real), /* lanes of a register, at most */
    PARTS = LANES / PART,     /* of all lanes */
};

#define UNROLL _Pragma("GCC unroll 8")

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

/* Elements of a packed group. */
static size_t group_numel(size_t I)
{
    return GROUP * lvlm_round_up(I, LANES);
}

static size_t n_groups(size_t N)
{
    return (N + GROUP - 1) / GROUP;
}

size_t gemv_packed_numel(size_t I)
{
    return GROUPS * group_numel(I);
}

void gemv_pack(real *packed, const real *x, size_t N, size_t I)
{
    assert(N >= 1 && N <= GEMV_MOST_VECTORS);
    memset(packed, 0, n_groups(N) * group_numel(I) * sizeof *packed);
    for (size_t n = 0; n < N; n++) {
        real *const to = packed + n / GROUP * group_numel(I) + n % GROUP * LANES;
        for (size_t i = 0; i < I; i += LANES)
            memcpy(to + i * GROUP, x + n * I + i, min_size(LANES, I - i) * sizeof *x);
    }
}

/* name: sums (GROUP,GROUP,LANES) += GROUP rows of w times as many vectors, over n
 * elements, a multiple of LANES.  x packed  w (GROUP) */
#define TILE(name, type, loaded, widen)                                                \
    LVLM_SIMD_CLONES static void name(real *sums, const real *x, const type *const *w, \
                                      size_t n)                                        \
    {                                                                                  \
        lanes s[GROUP][GROUP][PARTS];                                                  \
        memcpy(s, sums, sizeof s);                                                     \
        for (size_t i = 0; i < n; i += LANES) {                                        \
            lanes a[GROUP][PARTS];                                                     \
            UNROLL for (size_t k = 0; k < GROUP; k++)                                  \
            {                                                                          \
                loaded stored;                                                         \
                memcpy(&stored, w[k] + i, sizeof stored);                              \
                const VECTOR(real) wide =                                              \
                    __builtin_convertvector(widen(stored), VECTOR(real));              \
                memcpy(a[k], &wide, sizeof wide);                                      \
                LVLM_PREFETCH((const char *)(w[k] + i) + AHEAD);                       \
            }                                                                          \
            const packed_lanes *const b = (const packed_lanes *)(x + i * GROUP);       \
            UNROLL for (size_t r = 0; r < GROUP; r++)                                  \
                UNROLL for (size_t h = 0; h < PARTS; h++)                              \
            {                                                                          \
                const lanes value = b[r * PARTS + h];                                  \
                UNROLL for (size_t k = 0; k < GROUP; k++) s[k][r][h] +=                \
                    value * a[k][h];                                                   \
            }                                                                          \
        }                                                                              \
        memcpy(sums, s, sizeof s);                                                     \
    }

/* name: y[r * ldy + k * apart] = the row k * apart of w, times vector r, for k < n and
 * r < N.  x packed  w (n*apart,I) */
#define SEVERAL(name, type, loaded, widen_lanes, widen)                                \
    TILE(name##_tile, type, loaded, widen_lanes)                                       \
    static void name(real *y, size_t ldy, const real *x, const type *w, size_t N,      \
                     size_t I, size_t apart, size_t n)                                 \
    {                                                                                  \
        real sums[GROUPS][STREAMS][GROUP][LANES] = { 0 };                              \
        const size_t whole = I / LANES * LANES, numel = group_numel(I);                \
        for (size_t i = 0; i < whole; i += BLOCK / sizeof *w)                          \
            for (size_t k = 0; k < n; k += GROUP) {                                    \
                const type *at[GROUP]; /* past the last row: it again, unused */       \
                for (size_t j = 0; j < GROUP; j++)                                     \
                    at[j] = w + min_size(k + j, n - 1) * apart * I + i;                \
                for (size_t g = 0; g < n_groups(N); g++)                               \
                    name##_tile(sums[g][k][0], x + g * numel + i * GROUP, at,          \
                                min_size(BLOCK / sizeof *w, whole - i));               \
            }                                                                          \
        for (size_t k = 0; k < n; k++)                                                 \
            for (size_t r = 0; r < N; r++) {                                           \
                real *const s = sums[r / GROUP][k][r % GROUP];                         \
                real *const to = y + r * ldy + k * apart;                              \
                const real *const rest =                                               \
                    x + r / GROUP * numel + whole * GROUP + r % GROUP * LANES;         \
                for (size_t i = whole; i < I; i++)                                     \
                    s[i - whole] += rest[i - whole] * widen(w[k * apart * I + i]);     \
                *to = s[0];                                                            \
                for (size_t l = 1; l < LANES; l++) *to += s[l];                        \
            }                                                                          \
    }

SEVERAL(rows_bf16, uint16_t, lanes_u16, F32_OF_BF16, (real)lvlm_f32_of_bf16)
SEVERAL(rows_f16, uint16_t, lanes_u16, F32_OF_F16, (real)lvlm_f32_of_f16_fast)
SEVERAL(rows_f32, float, lanes_f32, AS_IS, (real))
SEVERAL(rows_f64, double, lanes_f64, AS_IS, (real))

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

void gemv_several(real *y, size_t ldy, const real *packed, size_t N, lvlm_stored w,
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
