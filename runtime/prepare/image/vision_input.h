/* vision_input.h - converts image files to the tensors of a family's Hugging Face
 * processor, for every model that can be run.
 *
 *   manifest: canonical configuration, side files -> lvlm_vision_input
 *   images, text after text -> lvlm_vision_batch: tensors for the model,
 *                                                 one note per image for the text
 *
 *   squares   (PaliGemma, LLaVA) pixel_values F32 [N, 3, S, S]; S from the file
 *             (Qwen-VL)   the same; has no file, S from the configuration
 *   patches   (Qwen2-VL, Qwen2.5-VL) pixel_values F32 [P, 3*frames*patch^2],
 *             image_grid_thw I64 [N, 3]
 *   tiles     (Llama 3.2-Vision) pixel_values F32 [B, M, tiles, 3, S, S],
 *             aspect_ratio_ids I64 [B, M], aspect_ratio_mask I64 [B, M, tiles]
 *
 * Settings come from processor_config.json if it has an "image_processor" (written
 * since 5.0), else from preprocessor_config.json, in every generation of its keys;
 * absent or null settings have the class default. Images are always converted to RGB,
 * whatever do_convert_rgb says. Transparency is blended with white, as in transformers
 * since 5.21 (Llama 3.2-Vision: always), or dropped, as lvlm_vision_options say; for
 * Qwen-VL it is dropped, as in its own code.
 *
 * Distinct objects may be used from distinct threads, and one lvlm_vision_input from
 * many threads. */
#ifndef LVLM_RUNTIME_PREPARE_IMAGE_VISION_INPUT_H
#define LVLM_RUNTIME_PREPARE_IMAGE_VISION_INPUT_H

#include "formats/checkpoint/manifest.h"
#include "runtime/prepare/image/image.h"
#include "runtime/prepare/image/resample.h"

LVLM_BEGIN_DECLS

/* Zero-initialise for the reference's behaviour. */
typedef struct lvlm_vision_options {
    lvlm_resampling resampling; /* also selects how levels become numbers */
    bool drop_alpha;            /* as transformers before 5.21 */
    /* LLaVA: first put in the middle of a square of the mean colour, as LLaVA-1.5 was
     * trained; also if the file says do_pad */
    bool pad_to_square;
    lvlm_image_options image; /* limits; its alpha is ignored */
} lvlm_vision_options;

typedef struct lvlm_vision_input lvlm_vision_input;

/* Read the settings for a model. `options` may be NULL. LVLM_EFORMAT: the model has no
 * such file, or a value in it is invalid or does not match the tower; names file, key,
 * got and expected. LVLM_EUSAGE: Qwen-VL has no torchvision path; a
 * model whose images are not padded to squares. *out is owned:
 * lvlm_vision_input_close; `manifest` need not outlive it. */
LVLM_MUST_CHECK int lvlm_vision_input_open(lvlm_vision_input **out,
                                           const lvlm_manifest *manifest,
                                           const lvlm_vision_options *options,
                                           lvlm_error *err);
void lvlm_vision_input_close(lvlm_vision_input *input);

/* The images of B texts, in order of texts. */
typedef struct lvlm_vision_request {
    const char *const *images; /* (n_images) their files */
    size_t n_images;
    const size_t *per_text; /* (n_texts) with sum n_images */
    size_t n_texts;
} lvlm_vision_request;

/* What the text needs of one image. */
typedef struct lvlm_image_note {
    size_t width, height; /* as decoded */
    /* its places in the text: image tokens, or slots between the tags; 1 for tiles */
    size_t tokens;
    size_t rows, columns; /* of patches; of tiles; of squares 1, 1 */
} lvlm_image_note;

enum { LVLM_VISION_TENSORS = 3 };

typedef struct lvlm_vision_tensors {
    lvlm_tensor at[LVLM_VISION_TENSORS]; /* as listed above */
    size_t n;                            /* 0: there is nothing to see */
    lvlm_arena arena;                    /* holds what belongs to a batch */
} lvlm_vision_tensors;

typedef struct lvlm_vision_batch {
    lvlm_vision_tensors tensors;
    lvlm_image_note *notes; /* (n_images) */
    size_t n_images;
    size_t most_tiles; /* tiles: tile places per image; else 0 */
} lvlm_vision_batch;

/* Decode, resize, normalise and pack. LVLM_EFORMAT and LVLM_EIO name the image. Free
 * with lvlm_vision_batch_free. */
LVLM_MUST_CHECK int lvlm_vision_input_read(lvlm_vision_batch *out,
                                           const lvlm_vision_input *input,
                                           const lvlm_vision_request *request,
                                           lvlm_error *err);
void lvlm_vision_batch_free(lvlm_vision_batch *batch);

LVLM_END_DECLS

#endif
