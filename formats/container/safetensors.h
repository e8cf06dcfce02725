/* safetensors.h - reads, validates and writes one .safetensors file.
 *
 *   1. u64 little-endian: length N of the header
 *   2. N bytes of JSON: { "__metadata__": {text: text, ...}, NAME: { "dtype": "F32",
 *      "shape": [..], "data_offsets": [begin, end] }, ... }, padded with spaces
 *   3. tensor bytes; offsets count from here
 *
 * Reading never copies tensor bytes: they are borrowed from the mapped file.
 * Not here: models in several files (shards.h), what the tensors mean. Distinct objects
 * may be used from distinct threads. */
#ifndef LVLM_FORMATS_CONTAINER_SAFETENSORS_H
#define LVLM_FORMATS_CONTAINER_SAFETENSORS_H

#include <cjson/cJSON.h>

#include "formats/base/arena.h"
#include "formats/base/infile.h"
#include "formats/base/outfile.h"
#include "formats/container/tensor.h"

LVLM_BEGIN_DECLS

/* Tensor bytes begin at a multiple of this in files that are written whole. */
enum { LVLM_SAFETENSORS_ALIGN = 8 };

/* As in the reference implementation: larger headers are refused before they are
 * read. */
#define LVLM_SAFETENSORS_MAX_HEADER 100000000u

typedef struct lvlm_safetensors {
    lvlm_tensor *tensors; /* in order of offset; `file` is 0; owned here (lvlm_free) */
    size_t n_tensors;
    bool data_in_order;    /* the header lists them in this order */
    uint64_t header_bytes; /* 8 + N: where tensor bytes begin */
    cJSON *metadata;       /* object of strings, or NULL; owned here */
    bool metadata_first;   /* it precedes all tensors */
} lvlm_safetensors;

/* Read and validate the header of `file`. Names are in `arena`, data in `file`.
 * `headers_only` accepts a file that ends after its header: data is then NULL.
 * LVLM_EFORMAT names the first rule that is broken; the rules are listed at `validate`
 * in safetensors.c. Free with lvlm_safetensors_free. */
LVLM_MUST_CHECK int lvlm_safetensors_read(lvlm_safetensors *out,
                                          const lvlm_infile *file, bool headers_only,
                                          lvlm_arena *arena, lvlm_error *err);
void lvlm_safetensors_free(lvlm_safetensors *st);

/* Append the 8 + N header bytes for `tensors`, stored consecutively in the order given;
 * only name, dtype and shape are read. `metadata` (an object of strings) may be NULL.
 * Tensor bytes begin at a multiple of `align` (a power of two, at least 8). The limit
 * of `out` must be at least LVLM_SAFETENSORS_MAX_HEADER. */
LVLM_MUST_CHECK int lvlm_safetensors_header(lvlm_strbuf *out,
                                            const lvlm_tensor *tensors,
                                            size_t n_tensors, const cJSON *metadata,
                                            uint64_t align, lvlm_error *err);

/* The order in which the reference implementation writes tensors: by element type, from
 * the last of lvlm_dtype to the first (which aligns them), then by name. A comparison
 * function for qsort of lvlm_tensor. */
int lvlm_safetensors_order(const void *a, const void *b);

/* Write a whole file from tensors in memory, in the order given, and commit it. */
LVLM_MUST_CHECK int lvlm_safetensors_write(lvlm_outfile *file,
                                           const lvlm_tensor *tensors, size_t n_tensors,
                                           const cJSON *metadata, lvlm_error *err);
/* The same, for a path. */
LVLM_MUST_CHECK int lvlm_safetensors_save(const char *path, const lvlm_tensor *tensors,
                                          size_t n_tensors, const cJSON *metadata,
                                          bool overwrite, lvlm_error *err);

LVLM_END_DECLS

#endif
