/* dtype.c - names and sizes of element types, one row each. */
#include "formats/container/dtype.h"

#include <assert.h>
#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
} table[LVLM_N_DTYPES] = {
    [LVLM_BOOL] = { "BOOL", 1 },       [LVLM_U8] = { "U8", 1 },
    [LVLM_I8] = { "I8", 1 },           [LVLM_F8_E4M3] = { "F8_E4M3", 1 },
    [LVLM_F8_E5M2] = { "F8_E5M2", 1 }, [LVLM_I16] = { "I16", 2 },
    [LVLM_U16] = { "U16", 2 },         [LVLM_F16] = { "F16", 2 },
    [LVLM_BF16] = { "BF16", 2 },       [LVLM_I32] = { "I32", 4 },
    [LVLM_U32] = { "U32", 4 },         [LVLM_F32] = { "F32", 4 },
    [LVLM_F64] = { "F64", 8 },         [LVLM_I64] = { "I64", 8 },
    [LVLM_U64] = { "U64", 8 },
};

const char *lvlm_dtype_name(lvlm_dtype dtype)
{
    assert(dtype < LVLM_N_DTYPES);
    return table[dtype].name;
}

size_t lvlm_dtype_bytes(lvlm_dtype dtype)
{
    assert(dtype < LVLM_N_DTYPES);
    return table[dtype].bytes;
}

bool lvlm_dtype_from_name(lvlm_dtype *out, const char *name)
{
    for (unsigned i = 0; i < LVLM_N_DTYPES; i++) {
        if (strcmp(table[i].name, name) != 0) continue;
        *out = (lvlm_dtype)i;
        return true;
    }
    return false;
}

bool lvlm_dtype_from_option(lvlm_dtype *out, const char *word)
{
    static const struct {
        const char *word;
        lvlm_dtype dtype;
    } words[] = { { "f32", LVLM_F32 }, { "bf16", LVLM_BF16 }, { "f16", LVLM_F16 } };
    for (size_t i = 0; word != NULL && i < 3; i++) {
        if (strcmp(words[i].word, word) != 0) continue;
        *out = words[i].dtype;
        return true;
    }
    return false;
}

bool lvlm_dtype_is_weight(lvlm_dtype dtype)
{
    assert(dtype < LVLM_N_DTYPES);
    return dtype == LVLM_F16 || dtype == LVLM_BF16 || dtype == LVLM_F32 ||
           dtype == LVLM_F64;
}

const char *lvlm_dtype_torch_name(lvlm_dtype dtype)
{
    assert(dtype < LVLM_N_DTYPES);
    return dtype == LVLM_BF16  ? "bfloat16"
           : dtype == LVLM_F16 ? "float16"
           : dtype == LVLM_F64 ? "float64"
                               : "float32";
}
