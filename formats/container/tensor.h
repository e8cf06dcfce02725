/* tensor.h - one tensor of a checkpoint: a name, a type, a shape, borrowed bytes. Every
 * function may be called from several threads at once. */
#ifndef LVLM_FORMATS_CONTAINER_TENSOR_H
#define LVLM_FORMATS_CONTAINER_TENSOR_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/error.h"
#include "formats/base/infile.h"
#include "formats/base/json_reader.h"
#include "formats/base/strbuf.h"
#include "formats/container/dtype.h"

LVLM_BEGIN_DECLS

/* The deepest shape of any known checkpoint has 6 dimensions (scanned big_vision
 * stacks). More than this is refused, never truncated. */
enum { LVLM_MAX_DIMS = 8 };

typedef struct lvlm_shape {
    size_t n;                     /* 0: a scalar */
    uint64_t dims[LVLM_MAX_DIMS]; /* row-major, last index fastest */
} lvlm_shape;

typedef struct lvlm_tensor {
    const char *name;
    lvlm_dtype dtype;
    lvlm_shape shape;
    /* n_bytes bytes, row-major; NULL when only headers were read */
    const unsigned char *data;
    const lvlm_infile *map; /* the mapped file that holds data; NULL: other memory */
    uint64_t n_bytes;
    size_t file;     /* index into the checkpoint's files */
    uint64_t offset; /* of the first byte inside that file */
    /* A detached tensor has no span of its own in the file: its bytes are shared with
     * another tensor or stored in another order, and belong to the file's frame. */
    bool detached;
    /* Of a detached tensor read in place (lvlm_elements): elements between consecutive
     * indices of each axis; `data` is its first element, n_bytes its size if it were
     * row-major. NULL: data is row-major, as it always is without
     * LVLM_READ_IN_PLACE. */
    const uint64_t *stride;
} lvlm_tensor;

/* How much of a file is read. */
typedef enum lvlm_read {
    LVLM_READ_ALL,      /* data row-major in the file, or in copies */
    LVLM_READ_HEADERS,  /* data is NULL */
    LVLM_READ_IN_PLACE, /* data in the file in any order: stored data is never copied */
} lvlm_read;

bool lvlm_shape_equal(const lvlm_shape *a, const lvlm_shape *b);
/* Product of the dimensions; false if it does not fit 64 bits. */
bool lvlm_shape_numel(uint64_t *out, const lvlm_shape *shape);
/* Product of the dimensions times the size of an element, checked. */
bool lvlm_shape_bytes(uint64_t *out, const lvlm_shape *shape, lvlm_dtype dtype);
/* The order of a file's tensors: spans by offset, empty ones first, then detached ones
 * by offset; by name at the same place. A comparison function for qsort of
 * lvlm_tensor. */
int lvlm_tensor_span_order(const void *a, const void *b);
/* Number of elements; the shape has been validated. */
uint64_t lvlm_tensor_numel(const lvlm_tensor *tensor);
/* These bytes, counted from `data`, are not needed for now: if they are mapped from a
 * file, their pages leave the resident set (lvlm_infile_done_with). */
void lvlm_tensor_done_with(const lvlm_tensor *tensor, uint64_t first, uint64_t n_bytes);
/* Appends "[2048, 16384]"; "[]" for a scalar. */
void lvlm_shape_print(lvlm_strbuf *out, const lvlm_shape *shape);

/* Size of a printed shape: 8 numbers of 20 digits, separators, brackets. */
enum { LVLM_SHAPE_TEXT = 192 };
/* Prints to a caller's buffer and returns it, for use in one message. */
const char *lvlm_shape_text(char text[LVLM_SHAPE_TEXT], const lvlm_shape *shape);

/* From a JSON list of whole numbers; more than LVLM_MAX_DIMS are refused. */
LVLM_MUST_CHECK int lvlm_shape_read(lvlm_shape *out, lvlm_json_reader *reader,
                                    lvlm_error *err);
/* A JSON array of the dimensions. Owned by the caller; NULL: out of memory. */
cJSON *lvlm_shape_json(const lvlm_shape *shape);

LVLM_END_DECLS

#endif
