/* projections.h - every linear map from vision into language, and every head: whether
 * it exists, what it is, and what a model without it does. */
#ifndef LVLM_VERIFY_PROJECTIONS_H
#define LVLM_VERIFY_PROJECTIONS_H

#include "formats/checkpoint/manifest.h"

LVLM_BEGIN_DECLS

enum { LVLM_PROJECTION_SOURCES = 2 };

typedef struct lvlm_projection_state {
    const lvlm_projection *table; /* role, native name, equation, meaning */
    const char
        *form; /* "linear", "raw_parameter", "vit_head", "tied", "identity", "made",
                           "missing" */
    lvlm_shape shape; /* [out, in]; of a missing one: its expected shape */
    bool has_bias;    /* of a missing one: expected */
    bool transposed;  /* the source stores it as [in, out] */
    const char *name; /* native name of the weight */
    const char *sources[LVLM_PROJECTION_SOURCES]; /* names in the source; NULL: none */
    size_t n_sources;
} lvlm_projection_state;

/* The next projection in the order of the family's table, and for rows that every block
 * has, block by block. Start with a zero-initialised cursor; false: there are no
 * more. */
typedef struct lvlm_projection_cursor {
    size_t row;
    uint64_t block;
} lvlm_projection_cursor;
bool lvlm_projections_next(lvlm_projection_state *out, const lvlm_manifest *manifest,
                           lvlm_projection_cursor *cursor);

LVLM_END_DECLS

#endif
