/* prompt_inputs.h - prompts and their images as input tensors of a model: the names,
 * types, shapes and values of the family's Hugging Face processor.
 *
 *   input_ids       I64 [B, T]   rows are padded on the right
 *   attention_mask  I64 [B, T]
 *   token_type_ids, labels  I64 [B, T]   PaliGemma: 1 in the suffix; -100 outside of it
 *   mm_token_type_ids       I64 [B, T]   Qwen2-VL, Qwen2.5-VL: 1 where an image is,
 *                           2 where a video is
 *   cross_attention_mask    I64 [B, T, M, tiles] Llama 3.2, with images: tiles visible
 *                           to a token
 *   and those of the images (vision_input.h) and videos (video_input.h) */
#ifndef LVLM_RUNTIME_PREPARE_PROMPT_PROMPT_INPUTS_H
#define LVLM_RUNTIME_PREPARE_PROMPT_PROMPT_INPUTS_H

#include "runtime/prepare/image/video_input.h"
#include "runtime/prepare/prompt/prompt.h"

LVLM_BEGIN_DECLS

enum { LVLM_PROMPT_TENSORS = 5 + 2 * LVLM_VISION_TENSORS };

typedef struct lvlm_prompt_inputs {
    /* The inputs of lvlm_model_forward and lvlm_session_begin, sorted by name. */
    lvlm_checkpoint batch;
    lvlm_tensor tensors[LVLM_PROMPT_TENSORS];
    const lvlm_tensor *by_name[LVLM_PROMPT_TENSORS];
    lvlm_vision_batch vision;
    lvlm_video_batch video;
    lvlm_arena arena;
} lvlm_prompt_inputs;

/* Read the images and videos of `prompts` (n, at least 1, of one prompter), expand
 * their places and create the tensors. `vision` may be NULL if no prompt has an image,
 * `video` if none has a video. Errors name the image that cannot be read. Free with
 * lvlm_prompt_inputs_free, also after a failure. */
LVLM_MUST_CHECK int lvlm_prompt_inputs_make(lvlm_prompt_inputs *out,
                                            lvlm_prompt *const *prompts, size_t n,
                                            const lvlm_vision_input *vision,
                                            const lvlm_video_input *video,
                                            lvlm_error *err);
void lvlm_prompt_inputs_free(lvlm_prompt_inputs *inputs);

LVLM_END_DECLS

#endif
