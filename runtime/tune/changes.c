/* changes.c - what a run has changed; see changes.h. */
#include "runtime/tune/changes.h"

#include <string.h>

#include "formats/base/json.h"
#include "formats/native.h"

static const char *const parts[LVLM_N_CHANGE_PARTS] = { "vision", "connector", "text",
                                                        "rest" };

static lvlm_part_changes *part_of(lvlm_changes *c, const char *name)
{
    size_t i = 0;
    while (i + 1 < LVLM_N_CHANGE_PARTS) {
        const size_t length = strlen(parts[i]);
        if (strncmp(name, parts[i], length) == 0 && name[length] == '.') break;
        i++;
    }
    return &c->parts[i];
}

static int count(lvlm_changes *c, const char *name, bool trained, bool changed,
                 lvlm_error *err)
{
    lvlm_part_changes *const part = part_of(c, name);
    size_t *const counter = trained   ? changed ? &part->changed : &part->same
                            : changed ? &part->broken
                                      : &part->frozen;
    ++*counter;
    if (trained == changed) return 0;
    const char *const kept = lvlm_arena_strndup(&c->arena, name, strlen(name));
    if (kept == NULL) return lvlm_fail_memory(err);
    if (trained)
        c->same[c->n_same++] = kept;
    else if (c->broken == NULL)
        c->broken = kept;
    return 0;
}

static int compare(lvlm_changes *c, lvlm_model *model, const cJSON *before,
                   const cJSON *after, lvlm_error *err)
{
    const cJSON *item;
    c->same = lvlm_arena_alloc(&c->arena, lvlm_json_count_members(before) + 1,
                               sizeof *c->same);
    if (c->same == NULL) return lvlm_fail_memory(err);
    LVLM_JSON_MEMBERS (item, before)
        TRY(count(c, item->string, lvlm_model_moves(model, item->string),
                  !cJSON_Compare(item, lvlm_json_get(after, item->string), true), err));
    return 0;
}

int lvlm_changes_find(lvlm_changes *out, lvlm_model *trained, const char *after,
                      lvlm_error *err)
{
    lvlm_checkpoint *cp = NULL;
    cJSON *was = NULL, *is = NULL;
    int rc;
    *out = (lvlm_changes){ .arena = LVLM_ARENA_INIT };
    for (size_t i = 0; i < LVLM_N_CHANGE_PARTS; i++) out->parts[i].part = parts[i];
    if ((rc = lvlm_checkpoint_open(&cp, after, NULL, err)) == 0 &&
        (rc = lvlm_native_meta_json(&was, lvlm_model_manifest(trained)->checkpoint,
                                    "digests", err)) == 0 &&
        (rc = lvlm_native_meta_json(&is, cp, "digests", err)) == 0)
        rc = compare(out, trained, was, is, err);
    lvlm_json_free(was);
    lvlm_json_free(is);
    lvlm_checkpoint_close(cp);
    return rc;
}

void lvlm_changes_free(lvlm_changes *changes)
{
    lvlm_arena_free(&changes->arena);
    *changes = (lvlm_changes){ 0 };
}
