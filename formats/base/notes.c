/* notes.c - a list of unique sentences. */
#include "formats/base/notes.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/list.h"

enum {
    NOTE_BYTES = 1024, /* longer ones are truncated */
    MOST_NOTES = 200,  /* more are not useful, and each is compared with all others */
};

static bool is_known(const lvlm_notes *notes, const char *text)
{
    for (size_t i = 0; i < notes->n; i++)
        if (strcmp(notes->at[i], text) == 0) return true;
    return false;
}

static bool push(lvlm_notes *notes, const char *text)
{
    assert(notes->n <= MOST_NOTES);
    char *const copy = lvlm_strdup(text);
    if (copy == NULL ||
        lvlm_list_room(&notes->at, &notes->capacity, notes->n, sizeof copy, NULL) < 0) {
        lvlm_free(copy);
        return false;
    }
    notes->at[notes->n++] = copy;
    return true;
}

int lvlm_notes_add(lvlm_notes *notes, lvlm_error *err, const char *fmt, ...)
{
    char text[NOTE_BYTES];
    va_list args;
    if (notes == NULL) return 0;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    pthread_mutex_lock(&notes->lock);
    if (notes->n == MOST_NOTES)
        (void)snprintf(text, sizeof text, "more than %d notes: the others are left out",
                       MOST_NOTES);
    const bool ok = notes->n > MOST_NOTES || is_known(notes, text) || push(notes, text);
    pthread_mutex_unlock(&notes->lock);
    return ok ? 0 : lvlm_fail_memory(err);
}

void lvlm_add_notes(cJSON *result, const lvlm_notes *notes)
{
    if (notes->n == 0) return;
    cJSON *const list = cJSON_AddArrayToObject(result, "notes");
    for (size_t i = 0; i < notes->n; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(notes->at[i]));
}

void lvlm_notes_free(lvlm_notes *notes)
{
    for (size_t i = 0; i < notes->n; i++) lvlm_free(notes->at[i]);
    lvlm_free(notes->at);
    notes->at = NULL;
    notes->n = notes->capacity = notes->n_printed = 0;
}
