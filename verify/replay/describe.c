/* describe.c - the description of a model in a report; see replay_parts.h. */
#include "verify/replay/replay_parts.h"

#include <assert.h>
#include <string.h>

#include "formats/base/json.h"

/* List the differences between what references `a` and `b` compute, each of them
 * once. */
static int list_differences(const lvlm_difference ***out, size_t *n, lvlm_replay *r,
                            const lvlm_family *family, const char *a, const char *b,
                            lvlm_error *err)
{
    size_t most = 0;
    while (family->differences[most].behaviour != LVLM_AS_TRAINED) most++;
    *out = lvlm_arena_alloc(&r->arena, most + 1, sizeof **out);
    if (*out == NULL) return lvlm_fail_memory(err);
    for (const lvlm_difference *d = family->differences;
         d->behaviour != LVLM_AS_TRAINED; d++) {
        bool listed = false;
        for (size_t i = 0; i < *n; i++) listed |= (*out)[i]->behaviour == d->behaviour;
        if (!listed && lvlm_reference_applies(family, d->behaviour, a) !=
                           lvlm_reference_applies(family, d->behaviour, b))
            (*out)[(*n)++] = d;
    }
    return 0;
}

int lvlm_replay_describe(lvlm_replay *r, const lvlm_model *model, const char *prefix,
                         lvlm_error *err)
{
    const lvlm_manifest *m = lvlm_model_manifest(model);
    const char *root = lvlm_checkpoint_meta(m->checkpoint, "root");
    const char *const recorded =
        r->recording.reference != NULL ? r->recording.reference : r->reference;
    assert(r->reference != NULL && r->family == NULL);
    r->family = m->family->name;
    TRY(list_differences(&r->differences, &r->n_differences, r, m->family,
                         LVLM_REFERENCE_TRAINED, r->reference, err));
    TRY(list_differences(&r->from_recorded, &r->n_from_recorded, r, m->family, recorded,
                         r->reference, err));
    TRY(lvlm_places_read(&r->places, model, r->recording.checkpoint, prefix, &r->arena,
                         err));
    if (root != NULL && strlen(root) == LVLM_DIGEST_HEX)
        memcpy(r->model_root, root, sizeof r->model_root);
    return 0;
}

bool lvlm_replay_is_foreign(const lvlm_replay *r)
{
    return r->recording.family != NULL && r->family != NULL &&
           strcmp(r->recording.family, r->family) != 0;
}

void lvlm_replay_choose(lvlm_replay *r, const lvlm_replay_options *options)
{
    const char *const recorded = r->recording.reference;
    r->reference = options->reference != NULL ? options->reference
                   : recorded != NULL         ? recorded
                                              : LVLM_REFERENCE_TRAINED;
}

lvlm_model_options lvlm_replay_model_options(const lvlm_replay *r,
                                             const lvlm_replay_options *options)
{
    assert(r->reference != NULL);
    return (lvlm_model_options){
        .compute = r->compute,
        .threads = options->threads,
        .reference = r->reference,
        .layers = r->layers,
        .trains = options->grads ? lvlm_pass_trains_all : NULL,
        .notes = options->notes,
        .check = !options->checked,
        .checking = options->checking,
        .checking_user = options->checking_user,
    };
}
