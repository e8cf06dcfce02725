/* inputs.h - the tensors of one batch, checked against the model they are for.
 *
 * Nothing behind this door meets an id, a mask or a pixel that it has to doubt. */
#ifndef LVLM_RUNTIME_INPUTS_H
#define LVLM_RUNTIME_INPUTS_H

#include "formats/checkpoint.h"

#define LVLM_IGNORE_LABEL (-100)

/* What the model can take. */
typedef struct lvlm_input_spec {
    size_t vocab;          /* ids and labels are below it */
    int64_t image_token;   /* the one id that may lie beyond; never looked up */
    size_t channels;       /* of an image */
    size_t image;          /* its height and width */
    size_t rows_per_image; /* image tokens that one image fills */
} lvlm_input_spec;

typedef struct lvlm_inputs {
    size_t B, T;
    int64_t *ids;    /* (B,T) */
    int64_t *real;   /* (B,T) 1: a token, 0: padding */
    int64_t *types;  /* (B,T) 0: prefix, 1: suffix */
    int64_t *labels; /* (B,T), or NULL when no label counts */
    const lvlm_tensor
        *pixels; /* [n_images, channels, image, image], borrowed, or NULL */
    size_t n_images;
    lvlm_arena arena;
} lvlm_inputs;

/* Read the tensors of `checkpoint` whose names start with `prefix`; lvlm_model_forward
 * lists them. Besides their shapes, types and ranges: as many image tokens as the
 * images fill, finite pixels, a token before every label that counts, at least one
 * token. LVLM_EFORMAT names tensor, place, got and expected. Free with
 * lvlm_inputs_free, also after a failure. `checkpoint` must outlive `out`. */
LVLM_MUST_CHECK int lvlm_inputs_read(lvlm_inputs *out,
                                     const lvlm_checkpoint *checkpoint,
                                     const char *prefix, const lvlm_input_spec *spec,
                                     lvlm_error *err);
void lvlm_inputs_free(lvlm_inputs *inputs);

#endif
