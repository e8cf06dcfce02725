/* import_parts.h - what the sources of import.h share. Private to convert/. */
#ifndef LVLM_CONVERT_IMPORT_PARTS_H
#define LVLM_CONVERT_IMPORT_PARTS_H

#include "convert/import.h"

LVLM_BEGIN_DECLS

struct lvlm_import {
    lvlm_checkpoint *source;
    bool borrows; /* the source is the caller's */
    lvlm_manifest manifest;
    lvlm_import_options options;
    lvlm_init identity; /* how options.identity is made */
    lvlm_init zeros, ones, sines;
    lvlm_plan plan;
    lvlm_ledger ledger;
    cJSON *provenance;
    size_t provenance_bytes; /* space for it in the header */
    lvlm_arena arena;
};

/* ---- import_frames.c: the bytes of a source file that are not in tensors ---- */

/* The size of a source file; if only its header was read, the size that the header
 * describes. */
uint64_t import_file_bytes(const lvlm_import *import, size_t file);

/* Plan a tensor of all bytes of a source file that are outside of spans. A compressed
 * file has none. */
LVLM_MUST_CHECK int import_frame(lvlm_import *import, size_t file, lvlm_error *err);

/* ---- import_provenance.c ---- */

/* Describe the conversion, with no time, place or user. */
LVLM_MUST_CHECK int import_describe(lvlm_import *import, lvlm_error *err);
/* Add the effect of another type on values. It is known only after the data is written,
 * so import_describe reserves space for the longest numbers. */
LVLM_MUST_CHECK int import_describe_narrowing(lvlm_import *import,
                                              const lvlm_narrowing *narrowing,
                                              lvlm_error *err);

LVLM_END_DECLS

#endif
