/* transform.h - maps a source tensor to its native tensors and back.
 *
 * Every layout difference between checkpoints has the same form: view the source as
 * axes in memory order, select one index of at most one axis, and permute the others.
 *
 *   keep, reshape  all axes in order: the bytes are the same
 *   transpose      two axes swapped; permute: any order
 *   split          one index of an axis ("the k third of a fused qkv")
 *   merge          the inverse of split: several native tensors fill one source
 *
 * The map is a bijection between a source tensor and its native parts, so its inverse
 * is the same copy with the strides exchanged. Every function may be called from
 * several threads at once. */
#ifndef LVLM_FORMATS_CONTAINER_TRANSFORM_H
#define LVLM_FORMATS_CONTAINER_TRANSFORM_H

#include "formats/container/tensor.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_transform {
    size_t n;                     /* axes of the source, outermost first; 0: keep */
    uint64_t axes[LVLM_MAX_DIMS]; /* their extents; the product is the source's numel */
    size_t select;  /* 1 + the axis of which one index is selected; 0: none */
    uint64_t index; /* that index */
    /* native axes, outermost first, as source axes without the selected one */
    uint8_t order[LVLM_MAX_DIMS];
} lvlm_transform;

/* True if source and native have the same bytes in the same order. */
bool lvlm_transform_is_keep(const lvlm_transform *transform);

/* Elements of one native tensor of this transform. Not for keep. */
uint64_t lvlm_transform_numel(const lvlm_transform *transform);

/* `transform` of source number `i` when `n` sources of that shape are stacked in one
 * tensor along a new leading axis. The transform may select at most its first axis: the
 * new one is merged with it. */
lvlm_transform lvlm_transform_stack(const lvlm_transform *transform,
                                    const lvlm_shape *shape, uint64_t n, uint64_t i);

/* An array to read from. */
typedef struct lvlm_elements {
    const void *at;
    uint64_t n;
    size_t bytes;            /* of one */
    const lvlm_shape *shape; /* with `stride`, as in lvlm_tensor; else unused */
    const uint64_t *stride;
} lvlm_elements;

/* Copy elements [first, first + count), in row-major order. They must exist. */
void lvlm_elements_read(void *to, uint64_t first, uint64_t count,
                        const lvlm_elements *from);

/* All elements of a tensor that has data. */
lvlm_elements lvlm_tensor_elements(const lvlm_tensor *tensor);

/* Gather native elements [first, first + count), in native order, from the source. Not
 * for keep. False, with nothing written, if the source's size is not the product of the
 * axes or the range exceeds the native tensor. */
LVLM_MUST_CHECK bool lvlm_transform_gather(void *to, uint64_t first, uint64_t count,
                                           const lvlm_transform *transform,
                                           lvlm_elements source);

/* The inverse of gather: source elements [first, first + count), in source order, from
 * the native parts. parts[i] is the native tensor at index i of the selected axis;
 * n_parts is that axis' extent, or 1 if none is selected. False as above. */
LVLM_MUST_CHECK bool lvlm_transform_scatter(void *to, uint64_t first, uint64_t count,
                                            const lvlm_transform *transform,
                                            const lvlm_elements *parts, size_t n_parts);

LVLM_END_DECLS

#endif
