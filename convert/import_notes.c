/* import_notes.c - what a user should know of an import beyond its numbers. */
#include <inttypes.h>

#include "convert/import_parts.h"
#include "formats/base/text.h"

static int note_target(const lvlm_import *im, const lvlm_target *t, bool says_tied,
                       lvlm_error *err)
{
    lvlm_notes *const notes = im->options.notes;
    const char *const identity = im->options.identity;
    if (identity != NULL && lvlm_starts_with(t->name, identity)) return 0;
    if (t->state == LVLM_TARGET_MADE)
        return lvlm_notes_add(notes, err, "%s was made, not found: train it before use",
                              t->name);
    if (t->row->tied_to == NULL) return 0;
    if (t->state == LVLM_TARGET_FOUND && says_tied && !im->source->headers_only)
        return lvlm_notes_add(
            notes, err,
            "'%s' differs from %s, although tie_word_embeddings is true: kept as a "
            "head of its own",
            t->here.tensor->name, t->row->tied_to);
    if (t->state == LVLM_TARGET_TIED && t->here.tensor == NULL && !says_tied)
        return lvlm_notes_add(
            notes, err,
            "tie_word_embeddings is false, but there is no '%s': %s is used; is it a "
            "base model saved alone?",
            t->source_name, t->row->tied_to);
    return 0;
}

/* Values that the requested type cannot hold, and the first tensor with such. */
static int note_narrowing(const lvlm_import *im, lvlm_error *err)
{
    lvlm_notes *const notes = im->options.notes;
    const lvlm_narrowing n = lvlm_plan_narrowing(&im->plan);
    const char *const dtype = lvlm_dtype_name(im->options.dtype);
    const char *overflowed = "", *flushed = "";
    for (size_t i = im->plan.n_steps; i-- > 0;) {
        const lvlm_step *const step = &im->plan.steps[i];
        if (step->narrowing.n_overflowed > 0) overflowed = step->out.name;
        if (step->narrowing.n_flushed > 0) flushed = step->out.name;
    }
    if (n.n_overflowed > 0)
        TRY(lvlm_notes_add(notes, err,
                           "%s: %" PRIu64 " value%s beyond the range of %s, now "
                           "infinite: --dtype bf16 has the range of F32",
                           overflowed, n.n_overflowed,
                           n.n_overflowed == 1 ? " is" : "s, in it and others, are",
                           dtype));
    if (n.n_flushed > 0)
        TRY(lvlm_notes_add(
            notes, err, "%s: %" PRIu64 " value%s too small for %s, now zero", flushed,
            n.n_flushed, n.n_flushed == 1 ? " is" : "s, in it and others, are", dtype));
    return 0;
}

int lvlm_import_note(const lvlm_import *im, lvlm_error *err)
{
    const lvlm_manifest *const m = &im->manifest;
    const bool says_tied = lvlm_family_ties(m->family, im->source->config).tied;
    for (size_t i = 0; i < m->n_targets; i++)
        TRY(note_target(im, &m->targets[i], says_tied, err));
    if (im->source->assumed != NULL)
        TRY(lvlm_notes_add(im->options.notes, err, "%s: %s", im->source->path,
                           im->source->assumed));
    return note_narrowing(im, err);
}
