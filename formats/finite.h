/* finite.h - infinite values and NaN: counted, placed, named.
 *
 * Whoever makes values checks them: what is not finite is reported where it came to be,
 * and not by whoever reads it. */
#ifndef LVLM_FORMATS_FINITE_H
#define LVLM_FORMATS_FINITE_H

#include "formats/tensor.h"

LVLM_BEGIN_DECLS

/* How many of the `n` values are infinite or NaN, and the index of the first one, which
 * is `n` where there is none. Values of types that have neither count as finite. */
uint64_t lvlm_count_not_finite(uint64_t *first, const void *values, lvlm_dtype dtype,
                               uint64_t n);

/* LVLM_ECHECK names the tensor, how many of its values are not finite, and the place of
 * the first. */
LVLM_MUST_CHECK int lvlm_check_finite(const lvlm_tensor *tensor, lvlm_error *err);

/* The same for a list of tensors, which names the first of them. To `out`, a JSON list,
 * goes each one that has such values: { "name", "values": how many, "of": how many
 * there are }. */
LVLM_MUST_CHECK int lvlm_check_all_finite(cJSON *out, const lvlm_tensor *tensors,
                                          size_t n_tensors, lvlm_error *err);

/* The largest finite value of a floating-point type; 0 of the others. */
double lvlm_dtype_most(lvlm_dtype dtype);

/* The place of element `index` of a shape: "[0, 3, 17]", "[]" in a scalar. Returns
 * `text`, for use in one message. */
const char *lvlm_place_text(char text[LVLM_SHAPE_TEXT], const lvlm_shape *shape,
                            uint64_t index);

LVLM_END_DECLS

#endif
