/* example.h - reads one example of training data, in one of five common forms, as a
 * conversation or a document.
 *
 *   LLaVA      { "conversations": [
 *                    { "from": "human", "value": "<image>\nWhat is it?" },
 *                    { "from": "gpt", "value": "A cat." } ],
 *                "image": "cat.jpg" }           or a list: one per <image>
 *              likewise "video": "clip" per <video>, a folder of frames or a list of
 *              files, and "fps": frames a second in it (example_video.h)
 *   Qwen-VL    { "conversations": [
 *                    { "from": "user",
 *                      "value": "Picture 1: <img>cat.jpg</img>\nWhat is it?" },
 *                    { "from": "assistant", "value": "A cat." } ] }
 *   PaliGemma  { "prefix": "caption en", "suffix": "a cat", "image": "cat.jpg" }
 *   a pair     { "image": "cat.jpg", "caption": "a cat" }           or "text"
 *   interleaved  { "interleaved": [ { "text": "This is " }, { "image": "cat.jpg" },
 *                                   { "text": ", a cat." } ] }
 *
 * The last two are documents (lvlm_messages.document): all of their texts is learnt, as
 * it stands, without blanks between the parts.
 * Conversations may begin with { "from": "system" }. "images" is another name for
 * "image". The result depends only on the text: files are not opened. */
#ifndef LVLM_RUNTIME_TUNE_DATA_EXAMPLE_H
#define LVLM_RUNTIME_TUNE_DATA_EXAMPLE_H

#include <cjson/cJSON.h>

#include "runtime/prepare/prompt/messages.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_example_form {
    LVLM_EXAMPLE_LLAVA,
    LVLM_EXAMPLE_QWEN_VL,
    LVLM_EXAMPLE_PALIGEMMA,
    LVLM_EXAMPLE_DOCUMENT,
    LVLM_N_EXAMPLE_FORMS,
} lvlm_example_form;

/* "LLaVA", "Qwen-VL", "PaliGemma", "a document". */
const char *lvlm_example_form_name(lvlm_example_form form);

typedef struct lvlm_example {
    lvlm_example_form form;
    lvlm_messages messages;
    size_t n_bytes;      /* of all texts */
    const char **images; /* (n_images) files, as they are named */
    size_t n_images;
    const lvlm_clip *videos; /* (n_videos) likewise */
    size_t n_videos;
    lvlm_arena arena; /* owns these lists */
    /* Qwen-VL's form: an assistant's turn before the first user's was left out, as in
     * its fine-tuning code. */
    bool left_out;
} lvlm_example;

/* Read one. The words around <image> lose the white space at their ends, as in Qwen's
 * fine-tuning of this form. <img>FILE</img> becomes an image, together with its
 * "Picture N: " and new line; with `tags` it stays in the text, for a model that has
 * such tags. LVLM_EFORMAT names the place and what was expected: for no known form or
 * two at once, a turn without words, no answer at the end, another number of <image>
 * than of files, or of <video> than of videos, a pair with another number of images
 * than one, a document without words or with an image named in them, tools. Keys that
 * could matter but are not followed are noted once for all examples (`notes` may be
 * NULL). Free with lvlm_example_free, also after a failure. */
LVLM_MUST_CHECK int lvlm_example_read(lvlm_example *out, const cJSON *json, bool tags,
                                      lvlm_notes *notes, lvlm_error *err);
void lvlm_example_free(lvlm_example *example);

LVLM_END_DECLS

#endif
