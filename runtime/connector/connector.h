/* connector.h - what all connectors share: the interface through which the pipeline
 * knows them.
 *
 *   configuration word "connector.kind" -> one connector: linear, mlp, merger,
 *   resampler
 *   features of the tower -> rows in the width of the language model (image_rows.h says
 *   how many) */
#ifndef LVLM_RUNTIME_CONNECTOR_CONNECTOR_H
#define LVLM_RUNTIME_CONNECTOR_CONNECTOR_H

#include "runtime/batch/image_rows.h"
#include "runtime/block/features.h"
#include "runtime/block/weights.h"
#include "runtime/block/workspace.h"

typedef struct vision_connector {
    const char *word;
    /* *out is owned: free, also after a failure. */
    int (*open)(void **out, const lvlm_manifest *manifest, const lvlm_image_rows *rule,
                lvlm_error *err);
    int (*bind)(void *connector, weights *w, lvlm_error *err);
    void (*free)(void *connector);
    size_t (*width)(const void *connector); /* of the features that it takes */
    /* Elements of ops_scratch that forward needs. */
    size_t (*scratch)(const void *connector, const features *f, size_t n_threads);
    void (*announce)(const void *connector, stages *s);
    /* *tape and its arrays in `memory`, for one pass; with `keep` for backward too. */
    int (*tape_make)(const void *connector, void **tape, workspace *memory,
                     const features *f, bool keep, lvlm_error *err);
    /* out (rows,H) in the order of the images, H the language model's width */
    int (*forward)(const void *connector, void *tape, real *out, const features *f,
                   stages *s, const ops_scratch *scratch, lvlm_error *err);
    /* From dout (rows,H) to the weights' gradients and, unless NULL, drows += (R,C), of
     * f->rows, which are those of forward. */
    void (*backward)(const void *connector, void *tape, real *drows, const real *dout,
                     const features *f, const ops_scratch *scratch);
} vision_connector;

extern const vision_connector linear_connector;
extern const vision_connector mlp_connector;
extern const vision_connector merger_connector;
extern const vision_connector resampler_connector;

/* The one of a word that lvlm_image_rows_read accepted. */
const vision_connector *connector_find(const char *word);

#endif
