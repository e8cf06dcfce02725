/* values.h - a tensor's values as its family's native tensor has them, in order, from a
 * checkpoint of any kind, in blocks. Distinct objects may be used from distinct
 * threads. */
#ifndef LVLM_VERIFY_VALUES_H
#define LVLM_VERIFY_VALUES_H

#include "formats/checkpoint/manifest.h"

LVLM_BEGIN_DECLS

/* Most values that are fetched at once. */
enum { LVLM_VALUES_BLOCK = 1 << 15 };

typedef struct lvlm_values {
    const lvlm_tensor *tensor; /* NULL: there is none */
    const lvlm_transform *transform;
    const lvlm_shape *shape; /* of the native tensor */
    /* set if the tensor has another shape than this: its values are not read then */
    const lvlm_shape *expected;
} lvlm_values;

/* A tensor as it is stored. NULL: none. */
lvlm_values lvlm_values_stored(const lvlm_tensor *tensor);
/* The values of a target: its own tensor, or that of the target that it is tied to. */
lvlm_values lvlm_values_of(const lvlm_manifest *manifest, const lvlm_target *target);

/* Is there nothing to compare of a target of two models? Both are the identity, or both
 * tied: the table is compared. `y` NULL: the second model has no such target. */
bool lvlm_values_are_none(const lvlm_target *x, const lvlm_target *y);

uint64_t lvlm_values_count(const lvlm_values *values);
/* The same in rows and columns: all axes after the first are columns. */
void lvlm_values_matrix(uint64_t *rows, uint64_t *columns, const lvlm_values *values);

/* Values [first, first + n) in their stored type, at most LVLM_VALUES_BLOCK, from the
 * file or copied to `buffer`, which has room for as many doubles. */
const unsigned char *lvlm_values_fetch(const lvlm_values *values, uint64_t first,
                                       size_t n, unsigned char *buffer);

/* Whole numbers, booleans too. */
bool lvlm_dtype_is_integer(lvlm_dtype dtype);
/* One of them, sign-extended to 64 bits. */
uint64_t lvlm_load_integer(const unsigned char *from, lvlm_dtype dtype);
/* |a - b| of two, exact unless it needs more than 53 bits. */
double lvlm_integer_distance(uint64_t a, lvlm_dtype a_dtype, uint64_t b,
                             lvlm_dtype b_dtype);
/* `n` values of any type as doubles; integers are rounded. */
void lvlm_values_widen(double *to, const unsigned char *from, lvlm_dtype dtype,
                       size_t n);

LVLM_END_DECLS

#endif
