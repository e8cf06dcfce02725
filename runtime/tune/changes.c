/* changes.c - what a run has changed; see changes.h. */
#include "runtime/tune/changes.h"

#include <string.h>

#include "formats/native/native.h"

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

static int compare(lvlm_changes *c, lvlm_model *model, const lvlm_checkpoint *after,
                   lvlm_error *err)
{
    const lvlm_checkpoint *const before = lvlm_model_manifest(model)->checkpoint;
    c->same = lvlm_arena_alloc(&c->arena, before->n_tensors + 1, sizeof *c->same);
    if (c->same == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < before->n_tensors; i++) {
        const lvlm_tensor *const was = &before->tensors[i];
        const lvlm_tensor *const is = lvlm_checkpoint_find(after, was->name);
        const bool same = is != NULL && strcmp(lvlm_native_digest_of(before, was),
                                               lvlm_native_digest_of(after, is)) == 0;
        TRY(count(c, was->name, lvlm_model_is_trained(model, was->name), !same, err));
    }
    return 0;
}

int lvlm_changes_find(lvlm_changes *out, lvlm_model *trained, const char *after,
                      lvlm_error *err)
{
    lvlm_checkpoint *cp = NULL;
    *out = (lvlm_changes){ .arena = LVLM_ARENA_INIT };
    for (size_t i = 0; i < LVLM_N_CHANGE_PARTS; i++) out->parts[i].part = parts[i];
    TRY(lvlm_checkpoint_open(&cp, after, NULL, err));
    const int rc = compare(out, trained, cp, err);
    lvlm_checkpoint_close(cp);
    return rc;
}

void lvlm_changes_free(lvlm_changes *changes)
{
    lvlm_arena_free(&changes->arena);
    *changes = (lvlm_changes){ 0 };
}
