/* notes.h - sentences on what was skipped: settings, keys, tensors and files that could
 * matter to the user but are not followed.
 *
 * Readers add sentences; a program prints them on stderr, even with --quiet, and adds
 * them to its --json. A sentence begins with the name of the thing ("batch.safetensors:
 * tensor 'pixel_value' is not used: ..."). Equal sentences are kept once. After 200,
 * one more says that the others are left out. lvlm_notes_add may be called from several
 * threads at once. */
#ifndef LVLM_FORMATS_BASE_NOTES_H
#define LVLM_FORMATS_BASE_NOTES_H

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stddef.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_notes {
    char **at; /* in the order added */
    size_t n;
    size_t capacity;
    size_t n_printed; /* number already printed, kept by the printing code */
    pthread_mutex_t lock;
} lvlm_notes;

// clang-format off
#define LVLM_NOTES_INIT { NULL, 0, 0, 0, PTHREAD_MUTEX_INITIALIZER }
// clang-format on

/* Add a sentence; no-op if `notes` is NULL. LVLM_ENOMEM. */
LVLM_MUST_CHECK int lvlm_notes_add(lvlm_notes *notes, lvlm_error *err, const char *fmt,
                                   ...) LVLM_PRINTF(3, 4);
/* Add them to a result as "notes": [sentence, ...], if there are any. */
void lvlm_add_notes(cJSON *result, const lvlm_notes *notes);
void lvlm_notes_free(lvlm_notes *notes);

LVLM_END_DECLS

#endif
