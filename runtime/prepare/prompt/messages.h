/* messages.h - a conversation with images and videos in the text.
 *
 *   [ { "role": "user",
 *       "content": [ { "type": "image", "path": "cat.jpg" },
 *                    { "type": "text", "text": "What is it?" } ] },
 *     { "role": "assistant", "content": "A cat." },
 *     { "role": "user", "content": "What colour?" } ]
 *
 * Not here: how a model writes it (prompt.h). */
#ifndef LVLM_RUNTIME_PREPARE_PROMPT_MESSAGES_H
#define LVLM_RUNTIME_PREPARE_PROMPT_MESSAGES_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "runtime/prepare/image/clip.h"

LVLM_BEGIN_DECLS

/* Limit of a file of messages; conversations are far smaller. */
enum { LVLM_MESSAGES_MAX_BYTES = 64 << 20 };

typedef enum lvlm_role {
    LVLM_ROLE_SYSTEM,
    LVLM_ROLE_USER,
    LVLM_ROLE_ASSISTANT,
    LVLM_N_ROLES,
} lvlm_role;

/* "system", "user", "assistant". */
const char *lvlm_role_name(lvlm_role role);

/* Text, an image or a video; the others are NULL. */
typedef struct lvlm_part {
    const char *text;  /* UTF-8 */
    const char *image; /* its file */
    const lvlm_clip *video;
} lvlm_part;

typedef struct lvlm_message {
    lvlm_role role;
    bool plain; /* content was a string, not a list of parts */
    lvlm_part *parts;
    size_t n_parts;
} lvlm_message;

typedef struct lvlm_messages {
    lvlm_message *at;
    size_t n; /* at least 1 */
    /* Texts and images that are nobody's turn: one message of the assistant, written in
     * the model's base form and, in training, learnt whole. */
    bool document;
    const char **unplaced; /* images without a part: the model's form places them */
    size_t n_unplaced;
    const lvlm_clip **unplaced_videos; /* likewise */
    size_t n_unplaced_videos;
    lvlm_arena arena; /* holds everything above */
} lvlm_messages;

/* Parse a JSON list of messages as used by Hugging Face's chat templates. An image part
 * names its file as "path", "image" or "url"; one without a name is the next of
 * `images` (n_images, paths). Remaining images are unplaced if the messages have no
 * image part, and an error otherwise. LVLM_EFORMAT names the message and the key:
 * unknown roles and types, images that would have to be downloaded. A video part has a
 * folder or a list of files under "video" (or "path", "url") and, if known, frames a
 * second under "fps"; one without frames waits for lvlm_messages_give_videos. Keys that
 * are not followed are noted (`notes` may be NULL). Free with lvlm_messages_free, also
 * after a failure. */
LVLM_MUST_CHECK int lvlm_messages_parse(lvlm_messages *out, const char *json,
                                        size_t n_bytes, const char *const *images,
                                        size_t n_images, lvlm_notes *notes,
                                        lvlm_error *err);
/* The same of a list that is parsed. */
LVLM_MUST_CHECK int lvlm_messages_take(lvlm_messages *out, const cJSON *list,
                                       const char *const *images, size_t n_images,
                                       lvlm_notes *notes, lvlm_error *err);
/* The same from a file. Errors begin with its name. */
LVLM_MUST_CHECK int lvlm_messages_read(lvlm_messages *out, const char *path,
                                       const char *const *images, size_t n_images,
                                       lvlm_notes *notes, lvlm_error *err);

/* Videos from beside the messages: each video part that names no frames is the next of
 * `clips`. Remaining ones are unplaced if there is no video part, and an error
 * otherwise, as are parts that get none (LVLM_EUSAGE). */
LVLM_MUST_CHECK int lvlm_messages_give_videos(lvlm_messages *messages,
                                              const lvlm_clip *clips, size_t n_clips,
                                              lvlm_error *err);

/* One user message `text` with all `images` unplaced, preceded by a system message
 * unless `system` is NULL and followed by an assistant's unless `answer` is NULL. */
LVLM_MUST_CHECK int lvlm_messages_make(lvlm_messages *out, const char *system,
                                       const char *text, const char *answer,
                                       const char *const *images, size_t n_images,
                                       lvlm_error *err);
void lvlm_messages_free(lvlm_messages *messages);

LVLM_END_DECLS

#endif
