/* manifest_parts.h - what the sources of manifest.h share. Private to formats/. */
#ifndef LVLM_FORMATS_CHECKPOINT_MANIFEST_PARTS_H
#define LVLM_FORMATS_CHECKPOINT_MANIFEST_PARTS_H

#include "formats/checkpoint/manifest.h"

LVLM_BEGIN_DECLS

/* A source tensor under its canonical name. */
typedef struct manifest_name {
    const char *canonical;
    const lvlm_tensor *tensor;
    bool known; /* begins like the names of some generation */
    bool used;
} manifest_name;

/* A section that the model has. */
typedef struct manifest_section {
    const lvlm_root *root;
    const lvlm_section *of;
} manifest_section;

struct manifest_builder;

/* What the tensors of one kind of checkpoint are called. */
typedef struct manifest_naming {
    /* The canonical name of a tensor; *known, which is true before, is false where no
     * generation has such names. NULL: out of memory. */
    const char *(*canonical)(bool *known, struct manifest_builder *b, const char *name);
    /* The tensor that holds a target's values, or NULL, and what it must be: `here`;
     * its expected name is the target's source_name. */
    int (*locate)(manifest_name **found, struct manifest_builder *b, lvlm_target *t);
} manifest_naming;

typedef struct manifest_builder {
    lvlm_manifest *m;
    const manifest_naming *naming;
    manifest_section *sections; /* in order of use */
    size_t n_sections;
    size_t target_room; /* targets that fit in m->targets */
    /* sorted by canonical name, known names first, then by source name */
    manifest_name *names;
    size_t n_names;
    size_t n_nearest, nearest_work; /* searches for nearest names so far */
    lvlm_error *err;
} manifest_builder;

static inline bool manifest_is_native(const lvlm_manifest *m)
{
    return m->checkpoint->kind == LVLM_CHECKPOINT_NATIVE;
}

/* manifest_naming.c */
const manifest_naming *manifest_naming_of(lvlm_checkpoint_kind kind);
/* Fill in `names`. */
int manifest_name_sources(manifest_builder *b);
/* The first source tensor under a canonical name; NULL: none. */
manifest_name *manifest_find_name(const manifest_builder *b, const char *canonical);

/* manifest_ties.c: mark heads that are tied by their bytes; add the ledger of a native
 * file, source names and tensors created at conversion. */
void manifest_resolve_ties(lvlm_manifest *m);
void manifest_apply_ledger(lvlm_manifest *m);

/* manifest_extras.c: list the source tensors that no target uses. */
int manifest_add_extras(manifest_builder *b);

LVLM_END_DECLS

#endif
