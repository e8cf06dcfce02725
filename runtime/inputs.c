/* inputs.c - reading and checking a batch; see inputs.h.
 *
 *   integers by table: type, shape -> ranges -> pixels: type, shape, finite
 *       -> image tokens against images -> labels against padding */
#include "runtime/inputs.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "formats/base/bytes.h"
#include "formats/numeric.h"

enum {
    NAME_BYTES = 128,
    MAX_TOKENS = 1 << 23, /* positions stay exact in float */
    PIXEL_CHUNK = 1024,   /* values widened at a time */
};

/* Everything a check needs. */
typedef struct reader {
    lvlm_inputs *out;
    const lvlm_checkpoint *checkpoint;
    const char *prefix;
    const lvlm_input_spec *spec;
} reader;

/* ---- integers ----------------------------------------------------------------- */

typedef enum integer_range { RANGE_BIT, RANGE_ID, RANGE_LABEL } integer_range;

typedef struct integer_row {
    const char *name;
    size_t offset; /* of the pointer in lvlm_inputs */
    integer_range range;
    int64_t absent; /* what every element is when the tensor is not there */
} integer_row;

static const integer_row ids_row = { "input_ids", offsetof(lvlm_inputs, ids), RANGE_ID,
                                     0 };

static const integer_row other_rows[] = {
    { "attention_mask", offsetof(lvlm_inputs, real), RANGE_BIT, 1 },
    { "token_type_ids", offsetof(lvlm_inputs, types), RANGE_BIT, 0 },
    { "labels", offsetof(lvlm_inputs, labels), RANGE_LABEL, LVLM_IGNORE_LABEL },
};

static const lvlm_tensor *find(const reader *r, const char *name)
{
    char full[NAME_BYTES];
    const int n = snprintf(full, sizeof full, "%s%s", r->prefix, name);
    return n >= 0 && (size_t)n < sizeof full ? lvlm_checkpoint_find(r->checkpoint, full)
                                             : NULL;
}

static int check_value(const reader *r, const lvlm_tensor *tensor, integer_range range,
                       int64_t value, size_t at, lvlm_error *err)
{
    const bool in_vocab = value >= 0 && (uint64_t)value < r->spec->vocab;
    char expected[NAME_BYTES];
    switch (range) {
    case RANGE_BIT:
        if (value == 0 || value == 1) return 0;
        (void)snprintf(expected, sizeof expected, "0 or 1");
        break;
    case RANGE_ID:
        if (in_vocab || value == r->spec->image_token) return 0;
        (void)snprintf(expected, sizeof expected,
                       "0 to %zu or the image token %" PRId64, r->spec->vocab - 1,
                       r->spec->image_token);
        break;
    case RANGE_LABEL:
        if (in_vocab || value == LVLM_IGNORE_LABEL) return 0;
        (void)snprintf(expected, sizeof expected, "0 to %zu, or %d to ignore it",
                       r->spec->vocab - 1, LVLM_IGNORE_LABEL);
        break;
    }
    return lvlm_fail(err, LVLM_EFORMAT, "%s[%zu, %zu]: got %" PRId64 ", expected %s",
                     tensor->name, at / r->out->T, at % r->out->T, value, expected);
}

static int check_integers(const lvlm_tensor *tensor, const lvlm_shape *shape,
                          lvlm_error *err)
{
    char got[LVLM_SHAPE_TEXT], want[LVLM_SHAPE_TEXT];
    FAIL_IF(tensor->dtype != LVLM_I64 && tensor->dtype != LVLM_I32, err, LVLM_EFORMAT,
            "%s: dtype %s, expected I64 or I32", tensor->name,
            lvlm_dtype_name(tensor->dtype));
    FAIL_IF(!lvlm_shape_equal(&tensor->shape, shape), err, LVLM_EFORMAT,
            "%s: shape %s, expected %s", tensor->name,
            lvlm_shape_text(got, &tensor->shape), lvlm_shape_text(want, shape));
    FAIL_IF(tensor->data == NULL, err, LVLM_EFORMAT, "%s: has no data", tensor->name);
    return 0;
}

static int64_t integer_at(const lvlm_tensor *tensor, size_t i)
{
    if (tensor->dtype == LVLM_I64)
        return (int64_t)lvlm_load_le(tensor->data + 8 * i, 8);
    return (int32_t)(uint32_t)lvlm_load_le(tensor->data + 4 * i, 4);
}

/* One tensor of [B, T] integers, or what stands for it. */
static int read_integers(const reader *r, const integer_row *row,
                         const lvlm_tensor *tensor, lvlm_error *err)
{
    const lvlm_shape shape = { 2, { r->out->B, r->out->T } };
    const size_t n = r->out->B * r->out->T; /* fits: it is the shape of input_ids */
    int64_t *values = lvlm_arena_alloc(&r->out->arena, n, sizeof *values);
    FAIL_IF(values == NULL, err, LVLM_ENOMEM, "out of memory for %s", row->name);
    if (tensor != NULL) TRY(check_integers(tensor, &shape, err));
    for (size_t i = 0; i < n; i++) {
        values[i] = tensor != NULL ? integer_at(tensor, i) : row->absent;
        if (tensor != NULL) TRY(check_value(r, tensor, row->range, values[i], i, err));
    }
    *(int64_t **)(void *)((char *)r->out + row->offset) = values;
    return 0;
}

static int read_text(const reader *r, lvlm_error *err)
{
    char got[LVLM_SHAPE_TEXT];
    const lvlm_tensor *const ids = find(r, ids_row.name);
    FAIL_IF(ids == NULL, err, LVLM_EFORMAT, "%s%s: is missing", r->prefix,
            ids_row.name);
    FAIL_IF(ids->shape.n != 2 || ids->shape.dims[0] == 0 || ids->shape.dims[1] == 0,
            err, LVLM_EFORMAT, "%s: shape %s, expected [texts, tokens], none of them 0",
            ids->name, lvlm_shape_text(got, &ids->shape));
    FAIL_IF(ids->shape.dims[1] > MAX_TOKENS, err, LVLM_EFORMAT,
            "%s: %" PRIu64 " tokens a text, at most %d", ids->name, ids->shape.dims[1],
            MAX_TOKENS);
    r->out->B = (size_t)ids->shape.dims[0];
    r->out->T = (size_t)ids->shape.dims[1];
    TRY(read_integers(r, &ids_row, ids, err));
    for (size_t i = 0; i < sizeof other_rows / sizeof *other_rows; i++)
        TRY(read_integers(r, &other_rows[i], find(r, other_rows[i].name), err));
    return 0;
}

/* ---- images ------------------------------------------------------------------- */

static int check_finite(const lvlm_tensor *pixels, lvlm_error *err)
{
    const size_t numel = (size_t)lvlm_tensor_numel(pixels);
    const uint64_t *const d = pixels->shape.dims;
    double values[PIXEL_CHUNK];
    for (size_t first = 0; first < numel; first += PIXEL_CHUNK) {
        const size_t n = numel - first < PIXEL_CHUNK ? numel - first : PIXEL_CHUNK;
        lvlm_convert_values(values, LVLM_F64,
                            pixels->data + first * lvlm_dtype_bytes(pixels->dtype),
                            pixels->dtype, n);
        for (size_t i = 0; i < n; i++) {
            const uint64_t at = first + i;
            FAIL_IF(!isfinite(values[i]), err, LVLM_EFORMAT,
                    "%s[%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64
                    "]: got %f, expected a finite number",
                    pixels->name, at / (d[1] * d[2] * d[3]), at / (d[2] * d[3]) % d[1],
                    at / d[3] % d[2], at % d[3], values[i]);
        }
    }
    return 0;
}

static int read_pixels(const reader *r, lvlm_error *err)
{
    const lvlm_tensor *const pixels = find(r, "pixel_values");
    char got[LVLM_SHAPE_TEXT];
    if (pixels == NULL) return 0;
    const uint64_t *const d = pixels->shape.dims;
    const lvlm_input_spec *const s = r->spec;
    FAIL_IF(!lvlm_dtype_is_weight(pixels->dtype), err, LVLM_EFORMAT,
            "%s: dtype %s, expected F32, F64, BF16 or F16", pixels->name,
            lvlm_dtype_name(pixels->dtype));
    FAIL_IF(pixels->shape.n != 4 || d[1] != s->channels || d[2] != s->image ||
                d[3] != s->image,
            err, LVLM_EFORMAT, "%s: shape %s, expected [images, %zu, %zu, %zu]",
            pixels->name, lvlm_shape_text(got, &pixels->shape), s->channels, s->image,
            s->image);
    if (d[0] == 0) return 0;
    FAIL_IF(pixels->data == NULL, err, LVLM_EFORMAT, "%s: has no data", pixels->name);
    TRY(check_finite(pixels, err));
    r->out->pixels = pixels;
    r->out->n_images = (size_t)d[0];
    return 0;
}

static int check_image_tokens(const reader *r, lvlm_error *err)
{
    size_t n_tokens = 0;
    for (size_t i = 0; i < r->out->B * r->out->T; i++)
        n_tokens += r->out->ids[i] == r->spec->image_token;
    const size_t n_images = r->out->n_images, each = r->spec->rows_per_image;
    FAIL_IF(n_tokens % each != 0 || n_tokens / each != n_images, err, LVLM_EFORMAT,
            "%sinput_ids: %zu image tokens (id %" PRId64
            "), but %zu images of %zu tokens "
            "each fill %zu",
            r->prefix, n_tokens, r->spec->image_token, n_images, each, n_images * each);
    return 0;
}

/* ---- what must hold between them ---------------------------------------------- */

static int check_padding(const reader *r, lvlm_error *err)
{
    for (size_t i = 0; i < r->out->B * r->out->T; i++)
        if (r->out->real[i] != 0) return 0;
    return lvlm_fail(err, LVLM_EFORMAT, "%sattention_mask: every token is padding",
                     r->prefix);
}

/* A label in the first column has nothing before it and never counts, as in the
 * reference. When none counts, the labels are taken for absent. */
static int check_labels(const reader *r, lvlm_error *err)
{
    lvlm_inputs *const in = r->out;
    size_t n_counted = 0;
    for (size_t i = 0; i < in->B * in->T; i++) {
        if (i % in->T == 0 || in->labels[i] == LVLM_IGNORE_LABEL) continue;
        FAIL_IF(in->real[i - 1] == 0, err, LVLM_EFORMAT,
                "%slabels[%zu, %zu]: got %" PRId64
                ", but the token before it, which would "
                "predict it, is padding; expected %d",
                r->prefix, i / in->T, i % in->T, in->labels[i], LVLM_IGNORE_LABEL);
        n_counted++;
    }
    if (n_counted == 0) in->labels = NULL;
    return 0;
}

int lvlm_inputs_read(lvlm_inputs *out, const lvlm_checkpoint *checkpoint,
                     const char *prefix, const lvlm_input_spec *spec, lvlm_error *err)
{
    const reader r = { out, checkpoint, prefix, spec };
    *out = (lvlm_inputs){ .arena = LVLM_ARENA_INIT };
    TRY(read_text(&r, err));
    TRY(read_pixels(&r, err));
    TRY(check_image_tokens(&r, err));
    TRY(check_padding(&r, err));
    return check_labels(&r, err);
}

void lvlm_inputs_free(lvlm_inputs *inputs)
{
    lvlm_arena_free(&inputs->arena);
}
