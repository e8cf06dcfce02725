/* connector.h - what all connectors share, and the interface through which the pipeline
 * knows them.
 *
 *   configuration word "connector.kind" -> one connector: linear, mlp, deep_mlp,
 *   merger, resampler
 *   features of the tower -> rows in the width of the language model (image_rows.h says
 *   how many) */
#ifndef LVLM_RUNTIME_CONNECTOR_CONNECTOR_H
#define LVLM_RUNTIME_CONNECTOR_CONNECTOR_H

#include "runtime/batch/image_rows.h"
#include "runtime/block/features.h"
#include "runtime/block/weights.h"
#include "runtime/block/workspace.h"

/* A connector. The first member of the struct that its kind has. */
typedef struct vision_connector {
    const struct connector_kind *kind;
    size_t in, out; /* the width of the features that it takes; H, text.hidden */
} vision_connector;

/* `connector` and `tape` are a kind's own structs. */
typedef struct connector_kind {
    size_t size;            /* of a connector */
    const weight_row *rows; /* of its weights */
    /* Read everything but the sizes that all have. */
    int (*open)(void *connector, const lvlm_manifest *manifest,
                const lvlm_image_rows *rule, lvlm_error *err);
    /* Elements of ops_scratch that a pass needs. */
    size_t (*scratch)(const void *connector, const features *f, size_t n_threads);
    void (*announce)(const void *connector, stages *s);
    /* *tape and its arrays in `memory`, for one pass; with `keep` for backward too. */
    int (*tape_make)(const void *connector, void **tape, workspace *memory,
                     const features *f, bool keep, lvlm_error *err);
    /* out (rows,H) in the order of the images */
    int (*forward)(const void *connector, void *tape, real *out, const features *f,
                   stages *s, const ops_scratch *scratch, lvlm_error *err);
    /* From dout (rows,H) to the weights' gradients and, unless NULL, drows += (R,C), of
     * f->rows, which are those of forward. */
    void (*backward)(const void *connector, void *tape, real *drows, const real *dout,
                     const features *f, const ops_scratch *scratch);
} connector_kind;

extern const connector_kind projector_connector;
extern const connector_kind resampler_connector;

/* The one of a word that lvlm_image_rows_read accepted. *out is owned: lvlm_free, also
 * after a failure. */
int connector_open(vision_connector **out, const lvlm_manifest *manifest,
                   const lvlm_image_rows *rule, lvlm_error *err);
int connector_bind(vision_connector *connector, weights *w, lvlm_error *err);

#endif
