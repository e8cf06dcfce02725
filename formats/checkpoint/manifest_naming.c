/* manifest_naming.c - what each kind of checkpoint calls its tensors, and where a
 * target's is.
 *
 *   native         its names are those of the targets
 *   Hugging Face   a root's prefix of some generation, and the rest of the name
 *   .npz           keys of big_vision, in layouts of their own */
#include "formats/checkpoint/manifest_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/text.h"
#include "formats/family/npz_names.h"

/* ---- all sources by name -------------------------------------------------------- */

static int by_canonical(const void *a, const void *b)
{
    const manifest_name *x = a, *y = b;
    const int order = strcmp(x->canonical, y->canonical);
    if (order != 0 || x->known == y->known)
        return order != 0 ? order : strcmp(x->tensor->name, y->tensor->name);
    return x->known ? -1 : 1;
}

int manifest_name_sources(manifest_builder *b)
{
    assert(b->names == NULL);
    const lvlm_checkpoint *cp = b->m->checkpoint;
    b->names = lvlm_arena_alloc(&b->m->arena, cp->n_tensors + 1, sizeof *b->names);
    if (b->names == NULL) return lvlm_fail_memory(b->err);
    b->n_names = cp->n_tensors;
    for (size_t i = 0; i < cp->n_tensors; i++) {
        const lvlm_tensor *t = cp->by_name[i];
        b->names[i].tensor = t;
        b->names[i].known = true;
        b->names[i].canonical = b->naming->canonical(&b->names[i].known, b, t->name);
        if (b->names[i].canonical == NULL) return lvlm_fail_memory(b->err);
    }
    qsort(b->names, b->n_names, sizeof *b->names, by_canonical);
    return 0;
}

/* The first tensor with that canonical name, or NULL. A name that belongs to no
 * generation never matches, even if it looks canonical. */
manifest_name *manifest_find_name(const manifest_builder *b, const char *canonical)
{
    assert(b->names != NULL || b->n_names == 0);
    const size_t at = lvlm_first_not_below(&canonical, b->names, b->n_names,
                                           sizeof *b->names, lvlm_by_text);
    const bool found = at < b->n_names && b->names[at].known &&
                       strcmp(b->names[at].canonical, canonical) == 0;
    return found ? &b->names[at] : NULL;
}

/* ---- native files --------------------------------------------------------------- */

static const char *native_canonical(bool *known, manifest_builder *b, const char *name)
{
    (void)known, (void)b;
    return name;
}

static int native_locate(manifest_name **found, manifest_builder *b, lvlm_target *t)
{
    t->source_name = t->name;
    t->here.shape = t->shape;
    t->here.shape_text = t->row->shape;
    *found = manifest_find_name(b, t->name);
    return 0;
}

/* ---- Hugging Face --------------------------------------------------------------- */

static const char *hf_canonical(bool *known, manifest_builder *b, const char *name)
{
    return lvlm_names_canonical(b->m->family, name, known, &b->m->arena);
}

char *lvlm_target_canonical(const lvlm_target *t, lvlm_arena *arena)
{
    assert(t->root != NULL && t->section != NULL && t->row != NULL);
    const char *const rest =
        lvlm_names_join(t->section->source, t->block, t->row->source, arena);
    return rest != NULL ? lvlm_names_join(t->root->native, 0, rest, arena) : NULL;
}

static int hf_locate(manifest_name **found, manifest_builder *b, lvlm_target *t)
{
    lvlm_arena *const arena = &b->m->arena;
    const char *const canonical = lvlm_target_canonical(t, arena);
    if (canonical == NULL) return lvlm_fail_memory(b->err);
    t->here = t->hf;
    *found = manifest_find_name(b, canonical);
    t->source_name = lvlm_names_source(b->m->family, canonical, LVLM_LAYOUT_HUB, arena);
    return t->source_name != NULL ? 0 : lvlm_fail_memory(b->err);
}

/* ---- .npz ----------------------------------------------------------------------- */

static const char *npz_canonical(bool *known, manifest_builder *b, const char *name)
{
    (void)known, (void)b;
    return lvlm_npz_canonical(name);
}

/* The best place of a native tensor that the table has: the first whose shape fits the
 * tensor there, else the first with a tensor, else the first. */
static int npz_locate(manifest_name **found, manifest_builder *b, lvlm_target *t)
{
    bool fits = false;
    *found = NULL;
    t->here = t->hf;
    t->source_name = t->name;
    for (size_t i = 0; !fits; i++) {
        const char *key;
        lvlm_storage place;
        TRY(lvlm_npz_place(&key, &place, i, b->m->family, t->section, t->row, t->block,
                           b->m->config, &b->m->arena, b->err));
        if (key == NULL) break;
        manifest_name *const there = manifest_find_name(b, key);
        fits = there != NULL && lvlm_shape_equal(&there->tensor->shape, &place.shape);
        if (i > 0 && !fits && (there == NULL || *found != NULL)) continue;
        t->here = place;
        t->source_name = key;
        *found = there;
    }
    return 0;
}

/* ---- all kinds ------------------------------------------------------------------ */

const manifest_naming *manifest_naming_of(lvlm_checkpoint_kind kind)
{
    static const manifest_naming native = { native_canonical, native_locate };
    static const manifest_naming npz = { npz_canonical, npz_locate };
    static const manifest_naming hf = { hf_canonical, hf_locate };
    return kind == LVLM_CHECKPOINT_NATIVE ? &native
           : kind == LVLM_CHECKPOINT_NPZ  ? &npz
                                          : &hf;
}
