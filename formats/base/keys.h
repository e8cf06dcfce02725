/* keys.h - how each key of a JSON object is treated.
 *
 * One table per kind of object lists every known key:
 *
 *   { "top_k" }                                    is followed
 *   { "auto_map", LVLM_KEY_INERT, "..." }          does not affect results here, and
 *                                                  why
 *   { "num_beams", LVLM_KEY_NOTED, "...", "1" }    is not followed, and what happens
 *                                                  instead; the value 1 would change
 *                                                  nothing
 *   { "lora_bias", LVLM_KEY_REFUSED, "...", "false" }
 *
 * lvlm_keys_check adds a note for every key that could change a result but is not
 * followed: a NOTED one, or one that matches no row. A null value counts as absent. */
#ifndef LVLM_FORMATS_BASE_KEYS_H
#define LVLM_FORMATS_BASE_KEYS_H

#include <cjson/cJSON.h>

#include "formats/base/notes.h"

LVLM_BEGIN_DECLS

typedef enum lvlm_key_use {
    LVLM_KEY_FOLLOWED,
    LVLM_KEY_INERT,
    LVLM_KEY_NOTED,
    LVLM_KEY_REFUSED,
} lvlm_key_use;

typedef struct lvlm_key {
    /* or several that one reason is for, and patterns with '*': "dtype|torch_*"; a
     * FOLLOWED row has one. NULL ends a table. The first row that matches is used */
    const char *name;
    lvlm_key_use use;
    /* INERT: for readers of the table; NOTED, REFUSED: the end of the sentence "'KEY'
     * is not followed: ..." */
    const char *why;
    const char *neutral; /* values that change nothing, in JSON, separated by '|' */
} lvlm_key;

/* Check every member of `object`, if it is an object. Notes and errors begin with
 * `where`: "generation_config.json". LVLM_EFORMAT for the first REFUSED member. */
LVLM_MUST_CHECK int lvlm_keys_check(const cJSON *object, const char *where,
                                    const lvlm_key *keys, lvlm_notes *notes,
                                    lvlm_error *err);

/* Check one name and its value (NULL: unknown). */
LVLM_MUST_CHECK int lvlm_key_check(const char *name, const cJSON *value,
                                   const char *where, const lvlm_key *keys,
                                   lvlm_notes *notes, lvlm_error *err);

LVLM_END_DECLS

#endif
