/* transform.c - strided copies between a source tensor and its native parts.
 *
 * Both directions iterate over an output of up to eight axes in row-major order and
 * read each element from a sum of index x stride; they differ only in the strides. The
 * innermost axis is copied as one run if its stride is one element. */
#include "formats/container/transform.h"

#include <assert.h>
#include <string.h>

#include "formats/base/size.h"

/* One strided read: output axes with their extents and input strides, in elements. */
typedef struct strided {
    size_t n;
    uint64_t extent[LVLM_MAX_DIMS];
    uint64_t stride[LVLM_MAX_DIMS];
    size_t part_axis; /* 1 + output axis whose index chooses the input; 0: inputs[0] */
    uint64_t base;    /* added to the sum of strides */
} strided;

bool lvlm_transform_is_keep(const lvlm_transform *transform)
{
    return transform->n == 0;
}

uint64_t lvlm_transform_numel(const lvlm_transform *transform)
{
    assert(transform->n > 0 && transform->n <= LVLM_MAX_DIMS);
    uint64_t numel = 1;
    for (size_t i = 0; i < transform->n; i++)
        if (i + 1 != transform->select) numel *= transform->axes[i];
    return numel;
}

lvlm_transform lvlm_transform_stack(const lvlm_transform *transform,
                                    const lvlm_shape *shape, uint64_t n, uint64_t i)
{
    lvlm_transform one = *transform;
    if (one.n == 0) {
        one = (lvlm_transform){ .n = shape->n };
        memcpy(one.axes, shape->dims, sizeof one.axes);
        for (size_t k = 0; k < one.n; k++) one.order[k] = (uint8_t)k;
    }
    assert(one.select <= 1 && one.n + (one.select == 0) <= LVLM_MAX_DIMS);
    if (one.select == 1) {
        one.index += i * one.axes[0];
        one.axes[0] *= n;
        return one;
    }
    lvlm_transform out = { .n = one.n + 1, .axes = { n }, .select = 1, .index = i };
    for (size_t k = 0; k < one.n; k++) {
        out.axes[k + 1] = one.axes[k];
        out.order[k] = (uint8_t)(one.order[k] + 1);
    }
    return out;
}

lvlm_elements lvlm_tensor_elements(const lvlm_tensor *tensor)
{
    assert(tensor->data != NULL || tensor->n_bytes == 0);
    return (lvlm_elements){ tensor->data, lvlm_tensor_numel(tensor),
                            lvlm_dtype_bytes(tensor->dtype), &tensor->shape,
                            tensor->stride };
}

/* Element number `at` in row-major order. */
static const unsigned char *element_at(const lvlm_elements *from, uint64_t at)
{
    uint64_t place = 0;
    if (from->stride == NULL)
        place = at;
    else
        for (size_t i = from->shape->n; i-- > 0; at /= from->shape->dims[i])
            place += at % from->shape->dims[i] * from->stride[i];
    return (const unsigned char *)from->at + place * from->bytes;
}

void lvlm_elements_read(void *to, uint64_t first, uint64_t count,
                        const lvlm_elements *from)
{
    assert(from->stride == NULL || from->shape != NULL);
    assert(first <= from->n && count <= from->n - first);
    unsigned char *out = to;
    if (count == 0) return;
    if (from->stride == NULL) {
        memcpy(out, element_at(from, first), (size_t)count * from->bytes);
        return;
    }
    const size_t last = from->shape->n - 1; /* a scalar never gets here */
    const uint64_t width = from->shape->dims[last];
    const uint64_t step = from->stride[last] * from->bytes;
    while (count > 0) {
        const uint64_t left = width - first % width, run = left < count ? left : count;
        const unsigned char *in = element_at(from, first);
        for (uint64_t i = 0; i < run; i++, out += from->bytes)
            memcpy(out, in + i * step, from->bytes);
        first += run;
        count -= run;
    }
}

/* ---- sizes ---------------------------------------------------------------------- */

/* Is the product of the axes `numel`, and is the selected index in range? */
static bool makes(const lvlm_transform *t, uint64_t numel)
{
    uint64_t product = 1;
    for (size_t i = 0; i < t->n; i++)
        if (!lvlm_mul_u64(&product, product, t->axes[i])) return false;
    return t->n > 0 && product == numel && t->select <= t->n &&
           (t->select == 0 || t->index < t->axes[t->select - 1]);
}

static bool is_range(uint64_t first, uint64_t count, uint64_t numel)
{
    return first <= numel && count <= numel - first;
}

/* ---- the copy ------------------------------------------------------------------- */

/* Read elements [first, first + count) of the output. */
static void copy(unsigned char *to, uint64_t first, uint64_t count, const strided *w,
                 const lvlm_elements *inputs)
{
    assert(w->n > 0 && w->n <= LVLM_MAX_DIMS);
    const size_t last = w->n - 1, element = inputs[0].bytes;
    uint64_t index[LVLM_MAX_DIMS];
    for (size_t i = w->n; i-- > 0; first /= w->extent[i])
        index[i] = first % w->extent[i];

    while (count > 0) {
        uint64_t at = w->base;
        for (size_t i = 0; i < w->n; i++) at += index[i] * w->stride[i];
        const size_t part = w->part_axis > 0 ? (size_t)index[w->part_axis - 1] : 0;
        const lvlm_elements *const from = &inputs[part];
        uint64_t run = w->part_axis == w->n ? 1 : w->extent[last] - index[last];
        if (run > count) run = count;
        if (w->stride[last] == 1 || run == 1)
            lvlm_elements_read(to, at, run, from);
        else
            for (uint64_t i = 0; i < run; i++)
                memcpy(to + i * element, element_at(from, at + i * w->stride[last]),
                       element);
        to += run * element;
        count -= run;
        index[last] += run;
        for (size_t i = last; i > 0 && index[i] == w->extent[i]; i--) {
            index[i] = 0;
            index[i - 1]++;
        }
    }
}

bool lvlm_transform_gather(void *to, uint64_t first, uint64_t count,
                           const lvlm_transform *transform, lvlm_elements source)
{
    assert(transform->n > 0); /* keep is a copy */
    if (!makes(transform, source.n) ||
        !is_range(first, count, lvlm_transform_numel(transform)))
        return false;
    if (count == 0) return true;
    uint64_t stride[LVLM_MAX_DIMS] = { 0 }; /* of the source's axes */
    uint64_t step = 1;
    for (size_t i = transform->n; i-- > 0; step *= transform->axes[i]) stride[i] = step;

    strided w = { .n = transform->n - (transform->select > 0) };
    for (size_t i = 0; i < w.n; i++) {
        w.extent[i] = transform->axes[transform->order[i]];
        w.stride[i] = stride[transform->order[i]];
    }
    if (w.n == 0) w = (strided){ .n = 1, .extent = { 1 }, .stride = { 1 } };
    if (transform->select > 0)
        w.base = transform->index * stride[transform->select - 1];
    copy(to, first, count, &w, &source);
    return true;
}

bool lvlm_transform_scatter(void *to, uint64_t first, uint64_t count,
                            const lvlm_transform *transform, const lvlm_elements *parts,
                            size_t n_parts)
{
    uint64_t numel;
    const uint64_t part = lvlm_transform_numel(transform);
    if (!lvlm_mul_u64(&numel, part, n_parts) || !makes(transform, numel) ||
        n_parts !=
            (transform->select > 0 ? transform->axes[transform->select - 1] : 1) ||
        !is_range(first, count, numel))
        return false;
    for (size_t i = 0; i < n_parts; i++)
        if (parts[i].n != part || parts[i].bytes != parts[0].bytes) return false;
    if (count == 0) return true;
    const size_t n_native = transform->n - (transform->select > 0);
    strided w = { .n = transform->n, .part_axis = transform->select };
    memcpy(w.extent, transform->axes, sizeof w.extent);
    uint64_t step = 1; /* the selected axis has stride 0: it chooses the part */
    for (size_t i = n_native; i-- > 0; step *= transform->axes[transform->order[i]])
        w.stride[transform->order[i]] = step;
    copy(to, first, count, &w, parts);
    return true;
}
