/* inputs.h - the tensors of one batch, checked against the model they are for.
 *
 * Code downstream may trust every id, mask and pixel. */
#ifndef LVLM_RUNTIME_BATCH_INPUTS_H
#define LVLM_RUNTIME_BATCH_INPUTS_H

#include "runtime/batch/image_rows.h"

LVLM_BEGIN_DECLS

#define LVLM_IGNORE_LABEL (-100)

/* How images enter the text. */
typedef enum lvlm_splice {
    LVLM_SPLICE_IMAGE_TOKENS,    /* rows of the connector fill image tokens, in order */
    LVLM_SPLICE_BETWEEN_TAGS,    /* the rows of one image fill the places between the
                                    image token and the next id */
    LVLM_SPLICE_CROSS_ATTENTION, /* they do not: some blocks attend to them */
} lvlm_splice;

/* What the model can take. */
typedef struct lvlm_input_spec {
    size_t vocab;        /* labels are below it */
    size_t embed_rows;   /* ids are below it */
    int64_t image_token; /* the one id that may be beyond; then never looked up */
    int64_t video_token; /* of videos, where they have one; -1: there are none */
    bool unlabelled;     /* labels are ignored, whatever they are */
    lvlm_splice splice;
    bool typed;           /* token_type_ids tell prefix from suffix */
    size_t position_axes; /* of position_ids; 0: the family's code never reads them */
    lvlm_image_spec images;
    lvlm_image_rows rows; /* that the connector gives for each of them */
} lvlm_input_spec;

typedef struct lvlm_inputs {
    size_t B, T;
    int64_t *ids;       /* (B,T) */
    int64_t *real;      /* (B,T) 1: a token, 0: padding */
    int64_t *types;     /* (B,T) 0: prefix, 1: suffix */
    bool has_mask;      /* attention_mask was given; else all are tokens */
    bool has_types;     /* they were given; else all are prefix */
    bool has_labels;    /* those were given, also if none counts */
    int64_t *labels;    /* (B,T), or NULL when no label counts */
    int64_t *image_row; /* (B,T) the row of the connector that fills it, or -1 */
    int64_t *positions; /* (position_axes,B,T) as given, or NULL (position_ids.h) */
    size_t position_axes;
    bool *begins; /* (B,T) another text begins there; NULL: a row is one text */
    lvlm_images images;
    lvlm_arena arena;
} lvlm_inputs;

/* As the configuration has it: "image_tokens". */
const char *lvlm_splice_word(lvlm_splice splice);

/* What a model of this canonical configuration takes, or LVLM_EFORMAT. */
LVLM_MUST_CHECK int lvlm_input_spec_read(lvlm_input_spec *out, const cJSON *config,
                                         lvlm_error *err);

/* Read the tensors of `checkpoint` whose names start with `prefix`; lvlm_model_forward
 * lists them. Besides their shapes, types and ranges: as many places for image rows as
 * the images fill, finite pixels, a token before every label that counts, at least one
 * token. A tensor that this model has no use for, or that nobody knows, is noted
 * (`notes` may be NULL). LVLM_EFORMAT names tensor, place, got and expected. Free with
 * lvlm_inputs_free, also after a failure. `checkpoint` must outlive `out`. */
LVLM_MUST_CHECK int lvlm_inputs_read(lvlm_inputs *out,
                                     const lvlm_checkpoint *checkpoint,
                                     const char *prefix, const lvlm_input_spec *spec,
                                     lvlm_notes *notes, lvlm_error *err);
void lvlm_inputs_free(lvlm_inputs *inputs);

LVLM_END_DECLS

#endif
