/* notes.h - what was met and passed over, said once: settings, keys, tensors and files
 * that could matter to somebody and that nothing here follows.
 *
 * A reader adds sentences while it reads; a program prints them on stderr, also under
 * --quiet, and puts them into its --json. A sentence begins with the name of the thing
 * ("batch.safetensors: tensor 'pixel_value' is not used: ..."). The same sentence is
 * kept once; of a great many the first 200 are kept, and a sentence that says so.
 * lvlm_notes_add may be called from several threads at once. */
#ifndef LVLM_FORMATS_BASE_NOTES_H
#define LVLM_FORMATS_BASE_NOTES_H

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stddef.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_notes {
    char **at; /* in the order in which they were added */
    size_t n;
    size_t capacity;
    size_t n_printed; /* for whoever prints: the first that has not been */
    pthread_mutex_t lock;
} lvlm_notes;

#define LVLM_NOTES_INIT                                                                \
    {                                                                                  \
        NULL, 0, 0, 0, PTHREAD_MUTEX_INITIALIZER                                       \
    }

/* Add one sentence; nothing is done where `notes` is NULL. LVLM_ENOMEM. */
LVLM_MUST_CHECK int lvlm_notes_add(lvlm_notes *notes, lvlm_error *err, const char *fmt,
                                   ...) LVLM_PRINTF(3, 4);
/* Add all of them to a result, as "notes": [sentence, ...], where there are any. */
void lvlm_add_notes(cJSON *result, const lvlm_notes *notes);
void lvlm_notes_free(lvlm_notes *notes);

LVLM_END_DECLS

#endif
