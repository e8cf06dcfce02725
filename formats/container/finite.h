/* finite.h - counts, locates and names infinite values and NaN.
 *
 * Code that produces values checks them, so that values that are not finite are
 * reported where they arise and not where they are read. Every function may be called
 * from several threads at once. */
#ifndef LVLM_FORMATS_CONTAINER_FINITE_H
#define LVLM_FORMATS_CONTAINER_FINITE_H

#include "formats/container/tensor.h"

LVLM_BEGIN_DECLS

/* How many of the `n` values are infinite or NaN, and the index of the first, or `n` if
 * there is none. Values of integer types are finite. */
uint64_t lvlm_count_not_finite(uint64_t *first, const void *values, lvlm_dtype dtype,
                               uint64_t n);

/* LVLM_ECHECK names the tensor, how many of its values are not finite, and the place of
 * the first. */
LVLM_MUST_CHECK int lvlm_check_finite(const lvlm_tensor *tensor, lvlm_error *err);

/* The same for a list of tensors; the error names the first. Every tensor with such
 * values is appended to `out`, a JSON list: { "name", "values": how many, "of": how
 * many there are }. */
LVLM_MUST_CHECK int lvlm_check_all_finite(cJSON *out, const lvlm_tensor *tensors,
                                          size_t n_tensors, lvlm_error *err);

/* "nan" or "infinite", which `value` is. */
const char *lvlm_not_finite_word(double value);

/* The largest finite value of a floating-point type; 0 for others. */
double lvlm_dtype_most(lvlm_dtype dtype);

/* The coordinates of element `index` of a shape: "[0, 3, 17]", "[]" of a scalar.
 * Returns `text`, for use in one message. */
const char *lvlm_place_text(char text[LVLM_SHAPE_TEXT], const lvlm_shape *shape,
                            uint64_t index);

LVLM_END_DECLS

#endif
