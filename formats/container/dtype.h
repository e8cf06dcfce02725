/* dtype.h - the element types that checkpoints store, with safetensors' names and in
 * its order, which decides the order of tensors in a file (lvlm_safetensors_order).
 *
 * Only types of whole bytes: a sub-byte type (F4, F6) is refused by name. Every
 * function may be called from several threads at once. */
#ifndef LVLM_FORMATS_CONTAINER_DTYPE_H
#define LVLM_FORMATS_CONTAINER_DTYPE_H

#include <stdbool.h>
#include <stddef.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_dtype {
    LVLM_BOOL,
    LVLM_U8,
    LVLM_I8,
    LVLM_F8_E5M2,
    LVLM_F8_E4M3,
    LVLM_I16,
    LVLM_U16,
    LVLM_F16,
    LVLM_BF16,
    LVLM_I32,
    LVLM_U32,
    LVLM_F32,
    LVLM_F64,
    LVLM_I64,
    LVLM_U64,
    LVLM_N_DTYPES,
} lvlm_dtype;

/* "BF16" and so on. */
const char *lvlm_dtype_name(lvlm_dtype dtype);
/* Bytes of one element: 1, 2, 4 or 8. */
size_t lvlm_dtype_bytes(lvlm_dtype dtype);
/* False if the name is unknown. */
bool lvlm_dtype_from_name(lvlm_dtype *out, const char *name);
/* The same for the words of options: "f32", "bf16", "f16". False, and *out stays, for
 * "keep" and NULL. */
bool lvlm_dtype_from_option(lvlm_dtype *out, const char *word);
/* F16, BF16, F32, F64: the types of weights. */
bool lvlm_dtype_is_weight(lvlm_dtype dtype);

/* torch's name of a type of weights: "bfloat16", "float16", "float64"; "float32" for
 * all others. */
const char *lvlm_dtype_torch_name(lvlm_dtype dtype);

LVLM_END_DECLS

#endif
