/* input_tensor.h - one tensor of a batch: found, checked, read.
 *
 * Errors are LVLM_EFORMAT and name the tensor, the place, what was found and what was
 * expected. */
#ifndef LVLM_RUNTIME_BATCH_INPUT_TENSOR_H
#define LVLM_RUNTIME_BATCH_INPUT_TENSOR_H

#include "formats/checkpoint/checkpoint.h"

LVLM_BEGIN_DECLS

/* Where a batch is: the tensors of `checkpoint` whose names start with `prefix`. */
typedef struct lvlm_input_source {
    const lvlm_checkpoint *checkpoint;
    const char *prefix;
    lvlm_arena *arena; /* what is read lives here */
} lvlm_input_source;

/* Values from `least` to `most`, and one more. */
typedef struct lvlm_input_range {
    int64_t least, most;
    int64_t also;          /* ... */
    const char *also_what; /* what that one is; NULL: there is none */
} lvlm_input_range;

/* NULL when there is no such tensor. */
const lvlm_tensor *lvlm_input_find(const lvlm_input_source *source, const char *name);

/* Value `i` of an I64 or I32 tensor. */
int64_t lvlm_input_integer(const lvlm_tensor *tensor, size_t i);

/* An I64 or I32 tensor of that shape, every value in range. */
LVLM_MUST_CHECK int lvlm_input_integers(int64_t **out, const lvlm_input_source *source,
                                        const lvlm_tensor *tensor,
                                        const lvlm_shape *shape,
                                        const lvlm_input_range *range, lvlm_error *err);

/* An F32, F64, BF16 or F16 tensor of that shape, every value finite. A dimension of 0
 * in `shape` may be anything. Values stay where they are. */
LVLM_MUST_CHECK int lvlm_input_check_reals(const lvlm_tensor *tensor,
                                           const lvlm_shape *shape, lvlm_error *err);

LVLM_END_DECLS

#endif
