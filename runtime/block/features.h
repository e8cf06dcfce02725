/* features.h - what a vision tower computes from all images of a batch, and a connector
 * takes. */
#ifndef LVLM_RUNTIME_BLOCK_FEATURES_H
#define LVLM_RUNTIME_BLOCK_FEATURES_H

#include "runtime/images.h"
#include "runtime/model/stages.h"

typedef struct features {
    size_t R, C;      /* rows and their width */
    lvlm_shape shape; /* of a stage of such rows, without C: [N, P], [R], ... */
    size_t n_images;  /* rows of one image are adjacent ... */
    size_t P;      /* ... and as many as this, where all have the same number, or 0 */
    size_t *order; /* rows come in groups; group g is group order[g] of the images in
                         their own order; NULL: in order */
    real *rows;    /* (R,C) */
} features;

/* Emit a stage of f->R rows.  data (f->R,C) */
int features_emit(stages *s, const char *name, const real *data, const features *f,
                  size_t C, lvlm_error *err);

#endif
