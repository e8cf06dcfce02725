/* messages.h - a conversation: who says what, with images among the words.
 *
 *   [ { "role": "user",
 *       "content": [ { "type": "image", "path": "cat.jpg" },
 *                    { "type": "text", "text": "What is it?" } ] },
 *     { "role": "assistant", "content": "A cat." },
 *     { "role": "user", "content": "What colour?" } ]
 *
 * Not here: how a model writes it (prompt.h). */
#ifndef LVLM_RUNTIME_INPUT_MESSAGES_H
#define LVLM_RUNTIME_INPUT_MESSAGES_H

#include <stdbool.h>

#include "formats/base/arena.h"
#include "formats/base/notes.h"

LVLM_BEGIN_DECLS

/* Bytes of a file of messages; a conversation is far below. */
enum { LVLM_MESSAGES_MAX_BYTES = 64 << 20 };

typedef enum lvlm_role {
    LVLM_ROLE_SYSTEM,
    LVLM_ROLE_USER,
    LVLM_ROLE_ASSISTANT,
    LVLM_N_ROLES,
} lvlm_role;

/* "system", "user", "assistant". */
const char *lvlm_role_name(lvlm_role role);

/* Words, or an image. */
typedef struct lvlm_part {
    const char *text;  /* UTF-8, or NULL: an image ... */
    const char *image; /* ... in this file */
} lvlm_part;

typedef struct lvlm_message {
    lvlm_role role;
    bool plain; /* content was a text, not a list of parts */
    lvlm_part *parts;
    size_t n_parts;
} lvlm_message;

typedef struct lvlm_messages {
    lvlm_message *at;
    size_t n;              /* at least 1 */
    const char **unplaced; /* images that no part stands for: the model's own form
                              says where they go */
    size_t n_unplaced;
    lvlm_arena arena; /* everything above lives here */
} lvlm_messages;

/* A list of messages in JSON, as Hugging Face's chat templates take it. An image part
 * names its file as "path", "image" or "url"; one that names none is the next of
 * `images` (n_images, paths). Those that are left over are unplaced when no part of
 * the messages is an image, and an error otherwise. LVLM_EFORMAT names the message and
 * the key: unknown roles and types, images that would have to be fetched. Keys that
 * nothing follows are noted (`notes` may be NULL). Free with lvlm_messages_free, also
 * after a failure. */
LVLM_MUST_CHECK int lvlm_messages_parse(lvlm_messages *out, const char *json,
                                        size_t n_bytes, const char *const *images,
                                        size_t n_images, lvlm_notes *notes,
                                        lvlm_error *err);
/* The same from a file, whose name messages begin with. */
LVLM_MUST_CHECK int lvlm_messages_read(lvlm_messages *out, const char *path,
                                       const char *const *images, size_t n_images,
                                       lvlm_notes *notes, lvlm_error *err);

/* One user message `text`, all `images` unplaced; in front of it a system message
 * unless `system` is NULL, behind it an assistant's unless `answer` is NULL. */
LVLM_MUST_CHECK int lvlm_messages_make(lvlm_messages *out, const char *system,
                                       const char *text, const char *answer,
                                       const char *const *images, size_t n_images,
                                       lvlm_error *err);
void lvlm_messages_free(lvlm_messages *messages);

LVLM_END_DECLS

#endif
