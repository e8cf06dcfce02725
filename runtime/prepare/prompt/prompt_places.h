/* prompt_places.h - private to prompts: places of images and videos among the ids, and
 * the videos of a conversation. */
#ifndef LVLM_RUNTIME_PREPARE_PROMPT_PROMPT_PLACES_H
#define LVLM_RUNTIME_PREPARE_PROMPT_PROMPT_PLACES_H

#include "runtime/prepare/prompt/prompt_style.h"

LVLM_BEGIN_DECLS

/* Where `token` is among the ids of `prompt`, whose arena holds *places (n). */
LVLM_MUST_CHECK int prompt_places_find(size_t **places, size_t *n, lvlm_prompt *prompt,
                                       int64_t token, lvlm_error *err);

/* The first `now` of `old` tokens remain at the place of every image. */
LVLM_MUST_CHECK int prompt_places_cut(lvlm_prompt *prompt, size_t old, size_t now,
                                      lvlm_error *err);

/* LVLM_EFORMAT if there are videos, and the model takes none. */
LVLM_MUST_CHECK int prompt_videos_check(const lvlm_messages *messages,
                                        const lvlm_prompt_form *form,
                                        const prompt_style *style, lvlm_error *err);
/* Assign the videos of the messages to their places, in order. */
LVLM_MUST_CHECK int prompt_videos_name(lvlm_prompt *out, const lvlm_messages *messages,
                                       const prompt_style *style, lvlm_error *err);

LVLM_END_DECLS

#endif
