/* values.c - reads tensors of any layout and type; see values.h. */
#include "verify/values.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "formats/container/numeric.h"

static const lvlm_transform keep;

lvlm_values lvlm_values_stored(const lvlm_tensor *tensor)
{
    return (lvlm_values){ tensor, &keep, tensor != NULL ? &tensor->shape : NULL, NULL };
}

lvlm_values lvlm_values_of(const lvlm_manifest *m, const lvlm_target *t)
{
    if (t->state == LVLM_TARGET_TIED) t = lvlm_manifest_find(m, t->row->tied_to);
    if (t == NULL) return lvlm_values_stored(NULL);
    return (lvlm_values){ t->here.tensor, &t->here.transform, &t->shape,
                          t->here.wrong_shape ? &t->here.shape : NULL };
}

bool lvlm_values_are_none(const lvlm_target *x, const lvlm_target *y)
{
    return y != NULL && x->state == y->state &&
           (x->state == LVLM_TARGET_IDENTITY || x->state == LVLM_TARGET_TIED);
}

uint64_t lvlm_values_count(const lvlm_values *v)
{
    assert(v->tensor != NULL && v->expected == NULL);
    return lvlm_transform_is_keep(v->transform) ? lvlm_tensor_numel(v->tensor)
                                                : lvlm_transform_numel(v->transform);
}

void lvlm_values_matrix(uint64_t *rows, uint64_t *columns, const lvlm_values *v)
{
    const uint64_t n = lvlm_values_count(v);
    *rows = v->shape->n > 1 ? v->shape->dims[0] : 1;
    *columns = *rows > 0 ? n / *rows : 0;
}

const unsigned char *lvlm_values_fetch(const lvlm_values *v, uint64_t first, size_t n,
                                       unsigned char *buffer)
{
    const lvlm_elements all = lvlm_tensor_elements(v->tensor);
    bool ok = true;
    assert(v->expected == NULL && n <= LVLM_VALUES_BLOCK);
    if (!lvlm_transform_is_keep(v->transform))
        ok = lvlm_transform_gather(buffer, first, n, v->transform, all);
    else if (all.stride != NULL)
        lvlm_elements_read(buffer, first, n, &all);
    else
        return v->tensor->data + first * all.bytes;
    assert(ok);
    (void)ok;
    return buffer;
}

/* ---- types ---------------------------------------------------------------------- */

static bool is_signed(lvlm_dtype dtype)
{
    return dtype == LVLM_I8 || dtype == LVLM_I16 || dtype == LVLM_I32 ||
           dtype == LVLM_I64;
}

bool lvlm_dtype_is_integer(lvlm_dtype dtype)
{
    return is_signed(dtype) || dtype == LVLM_BOOL || dtype == LVLM_U8 ||
           dtype == LVLM_U16 || dtype == LVLM_U32 || dtype == LVLM_U64;
}

uint64_t lvlm_load_integer(const unsigned char *from, lvlm_dtype dtype)
{
    const size_t size = lvlm_dtype_bytes(dtype);
    uint64_t bits = 0;
    assert(lvlm_dtype_is_integer(dtype) && size <= sizeof bits);
    memcpy(&bits, from, size);
    if (is_signed(dtype) && size < 8 && (bits >> (8 * size - 1) & 1) != 0)
        bits |= UINT64_MAX << (8 * size);
    return bits;
}

static bool is_negative(uint64_t bits, lvlm_dtype dtype)
{
    return is_signed(dtype) && bits >> 63 != 0;
}

double lvlm_integer_distance(uint64_t a, lvlm_dtype da, uint64_t b, lvlm_dtype db)
{
    const bool minus_a = is_negative(a, da), minus_b = is_negative(b, db);
    if (minus_a == minus_b) return (double)(a > b ? a - b : b - a);
    return minus_a ? (double)(0 - a) + (double)b : (double)a + (double)(0 - b);
}

static double integer_value(uint64_t bits, lvlm_dtype dtype)
{
    return is_signed(dtype) ? (double)(int64_t)bits : (double)bits;
}

/* Eight-bit floating point: f16's upper half; or 4 bits of exponent around 7, without
 * infinities (OCP 8-bit floating point, 2023). */
static double f8_value(unsigned char byte, lvlm_dtype dtype)
{
    assert(dtype == LVLM_F8_E4M3 || dtype == LVLM_F8_E5M2);
    if (dtype == LVLM_F8_E5M2) return (double)lvlm_f32_of_f16((uint16_t)(byte << 8));
    const int exponent = byte >> 3 & 15, mantissa = byte & 7;
    const double value = exponent == 15 && mantissa == 7 ? NAN
                         : exponent == 0                 ? ldexp(mantissa, -9)
                                         : ldexp(8 + mantissa, exponent - 10);
    return byte >> 7 != 0 ? -value : value;
}

void lvlm_values_widen(double *to, const unsigned char *from, lvlm_dtype dtype,
                       size_t n)
{
    const size_t size = lvlm_dtype_bytes(dtype);
    if (lvlm_dtype_is_weight(dtype)) {
        lvlm_convert_values(to, LVLM_F64, from, dtype, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        to[i] = lvlm_dtype_is_integer(dtype)
                    ? integer_value(lvlm_load_integer(from + i * size, dtype), dtype)
                    : f8_value(from[i], dtype);
}
