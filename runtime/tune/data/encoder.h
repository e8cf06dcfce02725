/* encoder.h - encodes examples as a batch to train on.
 *
 *   example -> messages -> prompt  \
 *   images -> pixels, places      -> ids, masks -> labels -> cut -> tensors
 *
 * with the code that makes prompts for generation, so that a model is trained on what
 * it will be given. An encoder never changes: any number of threads may use one. */
#ifndef LVLM_RUNTIME_TUNE_DATA_ENCODER_H
#define LVLM_RUNTIME_TUNE_DATA_ENCODER_H

#include "runtime/batch/inputs.h"
#include "runtime/prepare/prompt/prompt_inputs.h"
#include "runtime/tune/data/example.h"
#include "runtime/tune/data/labels.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_encoder_options {
    lvlm_notes *notes; /* receives what of model and examples is passed over; NULL:
                           none */
    const char
        *images; /* the folder of the images; NULL: their names are whole paths, as
                          those inside a tar always are */
    const char *data[2]; /* files of examples, or NULL: those that are tars are indexed,
                            else every image reads the headers before it */
    uint64_t resolution; /* as in lvlm_model_options, of a native file */
    size_t max_length; /* tokens of an example, the others are cut off; 0: any number */
    const char *chat_template; /* as in lvlm_prompt_options; NULL: the model's */
    bool pad_to_square;        /* as in lvlm_vision_options */
} lvlm_encoder_options;

/* For reading. */
typedef struct lvlm_encoder {
    lvlm_encoder_options options; /* max_length is SIZE_MAX for any number */
    lvlm_input_spec spec;
    bool tags;           /* prompts name images by tags, which stay in the text
                            (lvlm_example_read) */
    size_t image_tokens; /* estimated, of one image */
    lvlm_labeller labeller;
    lvlm_checkpoint *checkpoint;
    lvlm_manifest manifest;
    lvlm_prompter *prompter;
    lvlm_vision_input *vision; /* NULL: the model cannot be given images, ... */
    lvlm_error no_vision;      /* ... for this reason */
    lvlm_video_input *video;   /* likewise, videos */
    lvlm_error no_video;
    lvlm_tar_index tars[2]; /* of options.data; file is NULL: it is not a tar */
} lvlm_encoder;

/* For the native file `model`. LVLM_EFORMAT: it has no tokenizer, or its family has no
 * prompts or no rule for labels. What `options` points to must outlive *out, which is
 * closed with lvlm_encoder_close. */
LVLM_MUST_CHECK int lvlm_encoder_open(lvlm_encoder **out, const char *model,
                                      const lvlm_encoder_options *options,
                                      lvlm_error *err);
void lvlm_encoder_close(lvlm_encoder *encoder);

/* 0, or why this model cannot be given images: it has no processor's file. */
LVLM_MUST_CHECK int lvlm_encoder_reads_images(const lvlm_encoder *encoder,
                                              lvlm_error *err);
/* The same for videos; notes which of their settings are not followed. */
LVLM_MUST_CHECK int lvlm_encoder_reads_videos(const lvlm_encoder *encoder,
                                              lvlm_error *err);
/* The name of the template that is written; NULL: it has none. */
const char *lvlm_encoder_template(const lvlm_encoder *encoder);
/* The path of an image; NULL: out of memory. */
const char *lvlm_encoder_image_path(const lvlm_encoder *encoder, const char *name,
                                    lvlm_arena *arena);

/* A copy of a clip with the paths of its files; NULL: out of memory. */
lvlm_clip *lvlm_encoder_clip(const lvlm_encoder *encoder, const lvlm_clip *clip,
                             lvlm_arena *arena);

enum { LVLM_ENCODED_TENSORS = 16 };

typedef struct lvlm_encoded {
    lvlm_checkpoint batch; /* what lvlm_model_backward takes */
    size_t n_targets;      /* labels that count */
    bool *cut;             /* (n) which examples were longer than max_length */
    /* not for callers */
    lvlm_tensor tensors[LVLM_ENCODED_TENSORS];
    const lvlm_tensor *by_name[LVLM_ENCODED_TENSORS];
    lvlm_prompt_inputs inputs;
    lvlm_arena arena;
} lvlm_encoded;

/* Encode `n` examples, at least 1, as one batch that the model accepts. On failure *bad
 * is the example that causes it, or n if none does. Causes are what the model's prompts
 * have no place for, an image that cannot be read or would be cut, a token that counts
 * as padding, an answer of which nothing is left to learn, and whatever
 * lvlm_inputs_read refuses. *out is owned: lvlm_encoded_free. */
LVLM_MUST_CHECK int lvlm_encode(lvlm_encoded **out, size_t *bad,
                                const lvlm_encoder *encoder,
                                lvlm_example *const *examples, size_t n,
                                lvlm_error *err);
void lvlm_encoded_free(lvlm_encoded *encoded);

LVLM_END_DECLS

#endif
