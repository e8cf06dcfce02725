/* keys.c - known, noted and unknown keys; see keys.h. */
#include "formats/base/keys.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/options.h"
#include "formats/base/text.h"

/* The row for `name`; NULL if it is unknown. */
static const lvlm_key *find(const lvlm_key *keys, const char *name)
{
    for (const lvlm_key *key = keys; key->name != NULL; key++)
        if (lvlm_matches_listed(key->name, name)) return key;
    return NULL;
}

static int is_neutral(bool *out, const lvlm_key *key, const cJSON *value,
                      lvlm_error *err)
{
    char *text = NULL;
    *out = false;
    if (key->neutral == NULL || value == NULL) return 0;
    TRY(lvlm_json_print(&text, value, err));
    *out = lvlm_is_listed(key->neutral, text);
    lvlm_free(text);
    return 0;
}

/* The followed key that `name` is probably a misspelling of, or NULL. */
static const char *nearest(const lvlm_key *keys, const char *name)
{
    const char *best = NULL;
    size_t least = strlen(name) / 4 + 2; /* allows two letters to be swapped */
    for (const lvlm_key *key = keys; key->name != NULL; key++) {
        if (key->use != LVLM_KEY_FOLLOWED) continue;
        assert(strchr(key->name, '|') == NULL);
        const size_t distance = lvlm_edit_distance(key->name, name);
        if (distance >= least) continue;
        least = distance;
        best = key->name;
    }
    return best;
}

static int note_unknown(const char *name, const char *where, const lvlm_key *keys,
                        lvlm_notes *notes, lvlm_error *err)
{
    const char *const meant = nearest(keys, name);
    const bool any = meant != NULL;
    return lvlm_notes_add(notes, err, "%s: '%s' is not known and not followed%s%s%s",
                          where, name, any ? "; did you mean '" : "", any ? meant : "",
                          any ? "'?" : "");
}

int lvlm_key_check(const char *name, const cJSON *value, const char *where,
                   const lvlm_key *keys, lvlm_notes *notes, lvlm_error *err)
{
    assert(name != NULL && where != NULL && keys != NULL);
    const lvlm_key *const key = find(keys, name);
    bool neutral;
    if (cJSON_IsNull(value)) return 0;
    if (key == NULL) return note_unknown(name, where, keys, notes, err);
    if (key->use == LVLM_KEY_FOLLOWED || key->use == LVLM_KEY_INERT) return 0;
    TRY(is_neutral(&neutral, key, value, err));
    if (neutral) return 0;
    FAIL_IF(key->use == LVLM_KEY_REFUSED, err, LVLM_EFORMAT,
            "%s: '%s' is not supported: %s", where, name, key->why);
    return lvlm_notes_add(notes, err, "%s: '%s' is not followed: %s", where, name,
                          key->why);
}

int lvlm_keys_check(const cJSON *object, const char *where, const lvlm_key *keys,
                    lvlm_notes *notes, lvlm_error *err)
{
    const cJSON *member;
    LVLM_JSON_MEMBERS (member, object)
        TRY(lvlm_key_check(member->string, member, where, keys, notes, err));
    return 0;
}
