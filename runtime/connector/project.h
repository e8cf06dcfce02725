/* project.h - the connector that is one linear map: z = W h + b for every patch.
 *
 * I = vision.hidden, O = text.hidden. Where it comes from in each family is told by
 * lvlm-verify projections. */
#ifndef LVLM_RUNTIME_CONNECTOR_PROJECT_H
#define LVLM_RUNTIME_CONNECTOR_PROJECT_H

#include "runtime/model/stages.h"
#include "runtime/model/weights.h"

typedef struct projector_config {
    size_t in, out;
} projector_config;

typedef struct projector {
    projector_config config;
    lvlm_stored proj_w; /* (O,I) */
    const real *proj_b; /* (O) */
} projector;

int projector_open(projector *connector, const cJSON *config, lvlm_error *err);
int projector_bind(projector *connector, weights *w, lvlm_error *err);
size_t projector_scratch(const projector *connector, size_t n_threads);
void projector_announce(stages *s);

/* Rows of n_images images of P rows each.  out (n_images*P,O)  x (n_images*P,I) */
int projector_forward(const projector *connector, real *out, const real *x,
                      size_t n_images, size_t P, stages *s, const ops_scratch *scratch,
                      lvlm_error *err);

#endif
