/* changes.c - what a run has changed; see changes.h. */
#include "runtime/tune/changes.h"

#include <assert.h>

#include "formats/base/alloc.h"
#include "formats/base/text.h"
#include "formats/native/native.h"

static const char *const parts[LVLM_N_CHANGE_PARTS] = { "vision", "connector", "text",
                                                        "rest" };

static lvlm_part_changes *part_of(lvlm_changes *c, const char *name)
{
    size_t i = 0;
    while (i + 1 < LVLM_N_CHANGE_PARTS &&
           !(lvlm_starts_with(name, parts[i]) && name[strlen(parts[i])] == '.'))
        i++;
    return &c->parts[i];
}

static void count(lvlm_changes *c, const char *name, bool trained, bool changed)
{
    lvlm_part_changes *const part = part_of(c, name);
    if (trained && changed) {
        part->changed++;
    } else if (trained) {
        part->same++;
        c->same[c->n_same++] = name;
    } else if (!changed) {
        part->frozen++;
    } else {
        part->broken++;
        if (c->broken == NULL) c->broken = name;
    }
}

static int compare(lvlm_changes *c, lvlm_model *model, const lvlm_checkpoint *after,
                   lvlm_error *err)
{
    const lvlm_checkpoint *const before = lvlm_model_manifest(model)->checkpoint;
    c->same = lvlm_calloc(before->n_tensors + 1, sizeof *c->same);
    if (c->same == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < before->n_tensors; i++) {
        const lvlm_tensor *const was = &before->tensors[i];
        const lvlm_tensor *const is = lvlm_checkpoint_find(after, was->name);
        const bool same = is != NULL && strcmp(lvlm_native_digest_of(before, was),
                                               lvlm_native_digest_of(after, is)) == 0;
        count(c, was->name, lvlm_model_is_trained(model, was->name), !same);
    }
    return 0;
}

int lvlm_changes_find(lvlm_changes *out, lvlm_model *trained, const char *after,
                      lvlm_error *err)
{
    lvlm_checkpoint *cp = NULL;
    assert(trained != NULL && after != NULL);
    *out = (lvlm_changes){ .n_same = 0 };
    for (size_t i = 0; i < LVLM_N_CHANGE_PARTS; i++) out->parts[i].part = parts[i];
    TRY(lvlm_checkpoint_open(&cp, after, NULL, err));
    const int rc = compare(out, trained, cp, err);
    lvlm_checkpoint_close(cp);
    return rc;
}

void lvlm_changes_free(lvlm_changes *changes)
{
    lvlm_free(changes->same);
    *changes = (lvlm_changes){ .n_same = 0 };
}
