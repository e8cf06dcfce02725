/* stored.c - matrices in the dtype of the file that holds them. */
#include "runtime/ops/stored.h"

#include <assert.h>
#include <string.h>

#include "formats/container/numeric.h"
#include "runtime/ops/vmath.h"

LVLM_SIMD_CLONES static void widen_bf16(real *out, const uint16_t *w, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) out[i] = (real)lvlm_f32_of_bf16(w[i]);
}

LVLM_SIMD_CLONES static void widen_f16(real *out, const uint16_t *w, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) out[i] = (real)lvlm_f32_of_f16_fast(w[i]);
}

static void widen_f32(real *out, const float *w, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) out[i] = (real)w[i];
}

static void widen_f64(real *out, const double *w, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) out[i] = (real)w[i];
}

void stored_widen(real *out, lvlm_stored w, size_t first, size_t n)
{
    assert(w.data != NULL && lvlm_dtype_is_weight(w.dtype));
    switch (w.dtype) {
    case LVLM_BF16: widen_bf16(out, (const uint16_t *)w.data + first, n); break;
    case LVLM_F16: widen_f16(out, (const uint16_t *)w.data + first, n); break;
    case LVLM_F32: widen_f32(out, (const float *)w.data + first, n); break;
    case LVLM_F64: widen_f64(out, (const double *)w.data + first, n); break;
    default: assert(0 && "not a dtype of weights");
    }
}

void stored_write(void *w, lvlm_dtype dtype, size_t first, const real *x, size_t n)
{
    char *const to = w;
    assert(w != NULL && lvlm_dtype_is_weight(dtype));
    lvlm_convert_values(to + first * lvlm_dtype_bytes(dtype), dtype, x, LVLM_REAL_DTYPE,
                        n);
}

lvlm_stored stored_at(lvlm_stored w, size_t first)
{
    if (w.data == NULL) return w;
    const char *data = w.data;
    assert(lvlm_dtype_is_weight(w.dtype));
    return (lvlm_stored){ data + first * lvlm_dtype_bytes(w.dtype), w.dtype };
}
