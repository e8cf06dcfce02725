/* finite.c - tests whether all bits of the exponent are set; see finite.h. */
#include "formats/container/finite.h"

#include <assert.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "formats/base/json.h"

/* All bits of an exponent. */
#define EXPONENT_F64 UINT64_C(0x7ff0000000000000)
#define EXPONENT_F32 UINT32_C(0x7f800000)
#define EXPONENT_BF16 UINT16_C(0x7f80)
#define EXPONENT_F16 UINT16_C(0x7c00)

/* One loop for each size of the elements: it is vectorised. */
#define COUNT(count_, type)                                                            \
    static uint64_t count_(const unsigned char *at, uint64_t n, type exponent)         \
    {                                                                                  \
        uint64_t found = 0;                                                            \
        for (uint64_t i = 0; i < n; i++) {                                             \
            type bits;                                                                 \
            memcpy(&bits, at + sizeof bits * i, sizeof bits);                          \
            found += (bits & exponent) == exponent;                                    \
        }                                                                              \
        return found;                                                                  \
    }
COUNT(count16, uint16_t)
COUNT(count32, uint32_t)
COUNT(count64, uint64_t)

static uint64_t count(const unsigned char *at, lvlm_dtype dtype, uint64_t n)
{
    switch (dtype) {
    case LVLM_F64: return count64(at, n, EXPONENT_F64);
    case LVLM_F32: return count32(at, n, EXPONENT_F32);
    case LVLM_BF16: return count16(at, n, EXPONENT_BF16);
    case LVLM_F16: return count16(at, n, EXPONENT_F16);
    default: return 0;
    }
}

uint64_t lvlm_count_not_finite(uint64_t *first, const void *values, lvlm_dtype dtype,
                               uint64_t n)
{
    assert(dtype < LVLM_N_DTYPES);
    const unsigned char *const at = values;
    const uint64_t found = count(at, dtype, n);
    *first = n;
    if (found > 0)
        for (*first = 0; count(at + *first * lvlm_dtype_bytes(dtype), dtype, 1) == 0;)
            ++*first;
    return found;
}

int lvlm_check_finite(const lvlm_tensor *tensor, lvlm_error *err)
{
    assert(tensor->data != NULL || tensor->n_bytes == 0);
    const uint64_t n = lvlm_tensor_numel(tensor);
    char place[LVLM_SHAPE_TEXT];
    uint64_t first;
    const uint64_t found =
        lvlm_count_not_finite(&first, tensor->data, tensor->dtype, n);
    if (found == 0) return 0;
    return lvlm_fail(
        err, LVLM_ECHECK,
        "'%s': %" PRIu64 " of %" PRIu64 " values are not finite, the first at %s",
        tensor->name, found, n, lvlm_place_text(place, &tensor->shape, first));
}

static bool add_row(cJSON *out, const lvlm_tensor *tensor, uint64_t n)
{
    const double numel = (double)lvlm_tensor_numel(tensor);
    cJSON *const row = cJSON_CreateObject();
    if (row != NULL && cJSON_AddStringToObject(row, "name", tensor->name) != NULL &&
        cJSON_AddNumberToObject(row, "values", (double)n) != NULL &&
        cJSON_AddNumberToObject(row, "of", numel) != NULL &&
        cJSON_AddItemToArray(out, row))
        return true;
    lvlm_json_free(row);
    return false;
}

int lvlm_check_all_finite(cJSON *out, const lvlm_tensor *tensors, size_t n_tensors,
                          lvlm_error *err)
{
    assert(cJSON_IsArray(out));
    int rc = 0;
    for (size_t i = 0; i < n_tensors; i++) {
        const lvlm_tensor *const t = &tensors[i];
        uint64_t first;
        const uint64_t n =
            lvlm_count_not_finite(&first, t->data, t->dtype, lvlm_tensor_numel(t));
        if (n > 0 && !add_row(out, t, n)) return lvlm_fail_memory(err);
        if (n > 0 && rc == 0) rc = lvlm_check_finite(t, err);
    }
    return rc;
}

const char *lvlm_not_finite_word(double value)
{
    return isnan(value) ? "nan" : "infinite";
}

double lvlm_dtype_most(lvlm_dtype dtype)
{
    switch (dtype) {
    case LVLM_F64: return DBL_MAX;
    case LVLM_F32: return FLT_MAX;
    case LVLM_BF16: return 0x1.fep127;
    case LVLM_F16: return 65504;
    default: return 0;
    }
}

const char *lvlm_place_text(char text[LVLM_SHAPE_TEXT], const lvlm_shape *shape,
                            uint64_t index)
{
    assert(shape->n <= LVLM_MAX_DIMS);
    lvlm_shape place = { .n = shape->n };
    for (size_t i = shape->n; i > 0; i--) {
        const uint64_t size = shape->dims[i - 1];
        place.dims[i - 1] = size > 0 ? index % size : 0;
        index /= size > 0 ? size : 1;
    }
    return lvlm_shape_text(text, &place);
}
