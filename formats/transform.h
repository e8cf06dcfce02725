/* transform.h - how a native tensor lies inside a source tensor, and back.
 *
 * Every layout difference between checkpoints is one shape of map: see the source as
 * axes in memory order, take one index of at most one axis, and order the others anew.
 *
 *   keep, reshape  all axes in order: the bytes are the same
 *   transpose      two axes swapped; permute: any order
 *   split          one index of an axis ("the k third of a fused qkv")
 *   merge          the inverse of split: several native tensors fill one source
 *
 * The map is a bijection between a source tensor and its native parts, so the way back
 * is the same copy with the roles of the strides exchanged. */
#ifndef LVLM_FORMATS_TRANSFORM_H
#define LVLM_FORMATS_TRANSFORM_H

#include "formats/tensor.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_transform {
    size_t n;                     /* axes of the source, outermost first; 0: keep */
    uint64_t axes[LVLM_MAX_DIMS]; /* their extents; the product is the source's numel */
    size_t select;  /* 1 + the axis of which one index is taken; 0: none */
    uint64_t index; /* that index */
    uint8_t order[LVLM_MAX_DIMS]; /* native axes, outermost first, as source axes (the
                                     selected one left out) */
} lvlm_transform;

/* True when source and native bytes are the same bytes in the same order. */
bool lvlm_transform_is_keep(const lvlm_transform *transform);

/* Elements of one native tensor of this transform. Not for keep. */
uint64_t lvlm_transform_numel(const lvlm_transform *transform);

/* `transform` of one of `n` sources of that shape, when all of them stand stacked in
 * one tensor behind a new leading axis, and this is number `i`. Of the transform's axes
 * at most the first may be selected: the new one joins it. */
lvlm_transform lvlm_transform_stack(const lvlm_transform *transform,
                                    const lvlm_shape *shape, uint64_t n, uint64_t i);

/* An array to read from. */
typedef struct lvlm_elements {
    const void *at;
    uint64_t n;
    size_t bytes;            /* of one */
    const lvlm_shape *shape; /* with `stride`, as in lvlm_tensor; else not looked at */
    const uint64_t *stride;
} lvlm_elements;

/* Elements [first, first + count), which are there, in row-major order. */
void lvlm_elements_read(void *to, uint64_t first, uint64_t count,
                        const lvlm_elements *from);

/* All of a tensor's, whose data is there. */
lvlm_elements lvlm_tensor_elements(const lvlm_tensor *tensor);

/* Native elements [first, first + count) in native order, gathered from the source. Not
 * for keep. False, with nothing written, when the source does not have as many elements
 * as the axes make, or the range leaves the native tensor. */
LVLM_MUST_CHECK bool lvlm_transform_forward(void *to, uint64_t first, uint64_t count,
                                            const lvlm_transform *transform,
                                            lvlm_elements source);

/* Source elements [first, first + count) in source order, gathered from the native
 * parts: parts[i] is the native tensor taken at index i of the selected axis; n_parts
 * is that axis' extent, 1 where nothing is selected. The inverse of forward, and false
 * likewise. */
LVLM_MUST_CHECK bool lvlm_transform_inverse(void *to, uint64_t first, uint64_t count,
                                            const lvlm_transform *transform,
                                            const lvlm_elements *parts, size_t n_parts);

LVLM_END_DECLS

#endif
