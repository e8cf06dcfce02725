/* input_tensor.c - one tensor of a batch; see input_tensor.h. */
#include "runtime/batch/input_tensor.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "formats/base/bytes.h"
#include "formats/container/numeric.h"

enum {
    NAME_BYTES = 128,
    CHUNK = 1024, /* values widened at a time */
};

const lvlm_tensor *lvlm_input_find(const lvlm_input_source *source, const char *name)
{
    char full[NAME_BYTES];
    const int n = snprintf(full, sizeof full, "%s%s", source->prefix, name);
    return n >= 0 && (size_t)n < sizeof full
               ? lvlm_checkpoint_find(source->checkpoint, full)
               : NULL;
}

/* "[0, 3]": the place of element `at`. */
static const char *place(char text[LVLM_SHAPE_TEXT], const lvlm_shape *shape,
                         uint64_t at)
{
    lvlm_shape index = { .n = shape->n };
    for (size_t i = shape->n; i-- > 0; at /= shape->dims[i])
        index.dims[i] = at % shape->dims[i];
    assert(at == 0); /* it is one of the tensor's */
    return lvlm_shape_text(text, &index);
}

static bool fits(const lvlm_shape *got, const lvlm_shape *want)
{
    if (got->n != want->n) return false;
    for (size_t i = 0; i < got->n; i++)
        if (want->dims[i] != 0 && got->dims[i] != want->dims[i]) return false;
    return true;
}

/* A dimension of 0 prints as "any". */
static const char *wanted_text(char text[LVLM_SHAPE_TEXT], const lvlm_shape *shape)
{
    size_t used = (size_t)snprintf(text, LVLM_SHAPE_TEXT, "[");
    for (size_t i = 0; i < shape->n && used < LVLM_SHAPE_TEXT; i++) {
        char number[24] = "any";
        if (shape->dims[i] != 0)
            (void)snprintf(number, sizeof number, "%" PRIu64, shape->dims[i]);
        used += (size_t)snprintf(text + used, LVLM_SHAPE_TEXT - used, "%s%s",
                                 i > 0 ? ", " : "", number);
    }
    if (used < LVLM_SHAPE_TEXT)
        (void)snprintf(text + used, LVLM_SHAPE_TEXT - used, "]");
    return text;
}

static int check_shape(const lvlm_tensor *tensor, const lvlm_shape *shape,
                       lvlm_error *err)
{
    char got[LVLM_SHAPE_TEXT], want[LVLM_SHAPE_TEXT];
    FAIL_IF(!fits(&tensor->shape, shape), err, LVLM_EFORMAT,
            "%s: shape %s, expected %s", tensor->name,
            lvlm_shape_text(got, &tensor->shape), wanted_text(want, shape));
    FAIL_IF(tensor->data == NULL, err, LVLM_EFORMAT, "%s: has no data", tensor->name);
    return 0;
}

int64_t lvlm_input_integer(const lvlm_tensor *tensor, size_t i)
{
    assert(tensor->dtype == LVLM_I64 || tensor->dtype == LVLM_I32);
    assert(i < lvlm_tensor_numel(tensor));
    if (tensor->dtype == LVLM_I64)
        return (int64_t)lvlm_load_le(tensor->data + 8 * i, 8);
    return (int32_t)(uint32_t)lvlm_load_le(tensor->data + 4 * i, 4);
}

static int refuse_value(const lvlm_tensor *tensor, size_t at,
                        const lvlm_input_range *range, lvlm_error *err)
{
    char where[LVLM_SHAPE_TEXT], also[NAME_BYTES] = "";
    /* not said of one between the others */
    if (range->also_what != NULL &&
        (range->also < range->least || range->also > range->most))
        (void)snprintf(also, sizeof also, " or %" PRId64 " (%s)", range->also,
                       range->also_what);
    return lvlm_fail(err, LVLM_EFORMAT,
                     "%s%s: got %" PRId64 ", expected %" PRId64 " to %" PRId64 "%s",
                     tensor->name, place(where, &tensor->shape, at),
                     lvlm_input_integer(tensor, at), range->least, range->most, also);
}

int lvlm_input_integers(int64_t **out, const lvlm_input_source *source,
                        const lvlm_tensor *tensor, const lvlm_shape *shape,
                        const lvlm_input_range *range, lvlm_error *err)
{
    assert(range->least <= range->most);
    FAIL_IF(tensor->dtype != LVLM_I64 && tensor->dtype != LVLM_I32, err, LVLM_EFORMAT,
            "%s: dtype %s, expected I64 or I32", tensor->name,
            lvlm_dtype_name(tensor->dtype));
    TRY(check_shape(tensor, shape, err));
    const size_t n = (size_t)lvlm_tensor_numel(tensor);
    int64_t *values = lvlm_arena_alloc(source->arena, n + 1, sizeof *values);
    FAIL_IF(values == NULL, err, LVLM_ENOMEM, "out of memory for %s", tensor->name);
    for (size_t i = 0; i < n; i++) {
        values[i] = lvlm_input_integer(tensor, i);
        const bool inside = values[i] >= range->least && values[i] <= range->most;
        const bool other = range->also_what != NULL && values[i] == range->also;
        if (!inside && !other) return refuse_value(tensor, i, range, err);
    }
    *out = values;
    return 0;
}

int lvlm_input_check_reals(const lvlm_tensor *tensor, const lvlm_shape *shape,
                           lvlm_error *err)
{
    FAIL_IF(!lvlm_dtype_is_weight(tensor->dtype), err, LVLM_EFORMAT,
            "%s: dtype %s, expected F32, F64, BF16 or F16", tensor->name,
            lvlm_dtype_name(tensor->dtype));
    TRY(check_shape(tensor, shape, err));
    const size_t numel = (size_t)lvlm_tensor_numel(tensor);
    double values[CHUNK];
    for (size_t first = 0; first < numel; first += CHUNK) {
        const size_t n = numel - first < CHUNK ? numel - first : CHUNK;
        lvlm_convert_values(values, LVLM_F64,
                            tensor->data + first * lvlm_dtype_bytes(tensor->dtype),
                            tensor->dtype, n);
        for (size_t i = 0; i < n; i++) {
            char where[LVLM_SHAPE_TEXT];
            FAIL_IF(!isfinite(values[i]), err, LVLM_EFORMAT,
                    "%s%s: got %f, expected a finite number", tensor->name,
                    place(where, &tensor->shape, first + i), values[i]);
        }
    }
    return 0;
}
