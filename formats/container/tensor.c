/* tensor.c - checked arithmetic on shapes, and their text. */
#include "formats/container/tensor.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/size.h"

bool lvlm_shape_equal(const lvlm_shape *a, const lvlm_shape *b)
{
    assert(a->n <= LVLM_MAX_DIMS && b->n <= LVLM_MAX_DIMS);
    return a->n == b->n && memcmp(a->dims, b->dims, a->n * sizeof a->dims[0]) == 0;
}

bool lvlm_shape_numel(uint64_t *out, const lvlm_shape *shape)
{
    assert(shape->n <= LVLM_MAX_DIMS);
    uint64_t product = 1;
    for (size_t i = 0; i < shape->n; i++)
        if (!lvlm_mul_u64(&product, product, shape->dims[i])) return false;
    *out = product;
    return true;
}

bool lvlm_shape_bytes(uint64_t *out, const lvlm_shape *shape, lvlm_dtype dtype)
{
    uint64_t numel;
    return lvlm_shape_numel(&numel, shape) &&
           lvlm_mul_u64(out, numel, lvlm_dtype_bytes(dtype));
}

int lvlm_tensor_span_order(const void *a, const void *b)
{
    const lvlm_tensor *const x = a, *const y = b;
    if (x->detached != y->detached) return x->detached - y->detached;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    if (!x->detached && x->n_bytes != y->n_bytes)
        return x->n_bytes < y->n_bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

uint64_t lvlm_tensor_numel(const lvlm_tensor *tensor)
{
    assert(tensor->n_bytes % lvlm_dtype_bytes(tensor->dtype) == 0);
    return tensor->n_bytes / lvlm_dtype_bytes(tensor->dtype);
}

void lvlm_tensor_done_with(const lvlm_tensor *tensor, uint64_t first, uint64_t n_bytes)
{
    const lvlm_infile *const map = tensor->map;
    assert(first <= tensor->n_bytes && n_bytes <= tensor->n_bytes - first);
    if (map == NULL || n_bytes == 0) return;
    assert(tensor->data >= map->bytes && tensor->data <= map->bytes + map->n_bytes);
    const uint64_t offset = (uint64_t)(tensor->data - map->bytes) + first;
    /* values of an expanded tensor share bytes: it may be shorter in the file */
    const uint64_t left = offset < map->n_bytes ? map->n_bytes - offset : 0;
    if (left > 0) lvlm_infile_done_with(map, offset, n_bytes < left ? n_bytes : left);
}

const char *lvlm_shape_text(char text[LVLM_SHAPE_TEXT], const lvlm_shape *shape)
{
    assert(shape->n <= LVLM_MAX_DIMS);
    size_t at = 0;
    text[at++] = '[';
    for (size_t i = 0; i < shape->n; i++) {
        const int n = snprintf(text + at, LVLM_SHAPE_TEXT - at, "%s%" PRIu64,
                               i > 0 ? ", " : "", shape->dims[i]);
        assert(n > 0 && (size_t)n < LVLM_SHAPE_TEXT - at);
        at += (size_t)n;
    }
    text[at++] = ']';
    text[at] = '\0';
    return text;
}

void lvlm_shape_print(lvlm_strbuf *out, const lvlm_shape *shape)
{
    char text[LVLM_SHAPE_TEXT];
    lvlm_strbuf_puts(out, lvlm_shape_text(text, shape));
}

int lvlm_shape_read(lvlm_shape *shape, lvlm_json_reader *r, lvlm_error *err)
{
    int rc;
    shape->n = 0;
    TRY(lvlm_json_begin_list(r, err));
    while ((rc = lvlm_json_next_item(r, err)) > 0) {
        FAIL_IF(shape->n == LVLM_MAX_DIMS, err, LVLM_EFORMAT, "more than %d dimensions",
                LVLM_MAX_DIMS);
        TRY(lvlm_within(lvlm_json_read_u64(&shape->dims[shape->n], r, err), err,
                        "dimension %zu: ", shape->n));
        shape->n++;
    }
    return rc;
}

cJSON *lvlm_shape_json(const lvlm_shape *shape)
{
    assert(shape->n <= LVLM_MAX_DIMS);
    cJSON *json = cJSON_CreateArray();
    bool ok = json != NULL;
    for (size_t i = 0; i < shape->n && ok; i++)
        ok = cJSON_AddItemToArray(json, cJSON_CreateNumber((double)shape->dims[i]));
    if (ok) return json;
    lvlm_json_free(json);
    return NULL;
}
